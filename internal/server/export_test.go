package server

import (
	"net"

	"github.com/prometheus/client_golang/prometheus"
)

// Requests is one of the collectors that are always there.
func (m *Metrics) Requests() prometheus.Collector { return m.requests }

// StartOn serves on a socket that is open already.
func (l *Listener) StartOn(socket net.Listener) { l.serveOn(socket) }
