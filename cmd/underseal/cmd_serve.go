package main

import "context"

type serveCmd struct {
	Listen         string `conf:"listen" help:"${doc_listen}" placeholder:"HOST:PORT"`
	MetricsListen  string `conf:"metrics_listen" help:"${doc_metrics_listen}" placeholder:"HOST:PORT"`
	TLSCert        string `name:"tls-cert" conf:"tls_cert" help:"${doc_tls_cert}" placeholder:"FILE"`
	TLSKey         string `name:"tls-key" conf:"tls_key" help:"${doc_tls_key}" placeholder:"FILE"`
	TLSMin         string `name:"tls-min" conf:"tls_min" help:"${doc_tls_min}" placeholder:"VERSION"`
	TLSDev         bool   `name:"tls-dev" conf:"tls_dev" help:"${doc_tls_dev}"`
	ACMEHosts      string `name:"acme-hosts" conf:"acme_hosts" help:"${doc_acme_hosts}" placeholder:"NAME,.."`
	Hosts          string `conf:"hosts" help:"${doc_hosts}" placeholder:"NAME,.."`
	PublicURL      string `name:"public-url" conf:"public_url" help:"${doc_public_url}" placeholder:"URL"`
	BehindProxy    bool   `conf:"behind_proxy" help:"${doc_behind_proxy}"`
	TrustedProxies string `conf:"trusted_proxies" help:"${doc_trusted_proxies}" placeholder:"CIDR,.."`
	ClientCerts    bool   `name:"client-certificates" conf:"client_certificates" help:"${doc_client_certificates}"`
	IssuerNetworks string `conf:"issuer_networks" help:"${doc_issuer_networks}" placeholder:"CIDR,.."`
	IssuerCAFile   string `name:"issuer-ca-file" conf:"issuer_ca_file" help:"${doc_issuer_ca_file}" placeholder:"FILE"`
	HotInstances   int    `conf:"hot_instances" help:"${doc_hot_instances}" placeholder:"N"`
	ErasureDelay   string `conf:"erasure_delay" help:"${doc_erasure_delay}" placeholder:"TIME"`
	ErasureEpoch   string `conf:"erasure_epoch" help:"${doc_erasure_epoch}" placeholder:"TIME"`
	CheckRate      int    `conf:"check_rate" help:"${doc_check_rate}" placeholder:"N"`
	CheckFilesRate int64  `conf:"check_files_rate" help:"${doc_check_files_rate}" placeholder:"BYTES"`
	LogLevel       string `conf:"log_level" help:"${doc_log_level}" placeholder:"LEVEL"`
	LogFormat      string `conf:"log_format" help:"${doc_log_format}" placeholder:"FORMAT"`
	linkFlags
	storeFlags
}

func (serveCmd) Help() string {
	return opensDatabase + " On an empty data directory it does first what init does. SIGTERM and Ctrl-C end it in order: not ready, work under way done, all written, exit code 0."
}

// ready is the one line that serve writes to stdout, when it answers requests.
type ready struct {
	URL     string `json:"url"`
	Metrics string `json:"metrics,omitempty"` // URL
	CAFile  string `json:"ca_file,omitempty"` // with --tls-dev: what clients are to trust
	Made    *made  `json:"made,omitempty"`    // when the data are new
}

func (serveCmd) Run(ctx context.Context, e *env) error { return serve(ctx, e) }
