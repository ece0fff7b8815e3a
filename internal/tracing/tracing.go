// Package tracing sends traces to an OpenTelemetry collector, if one is named.
//
// It is the edge to the exporter: server and engine make spans through the
// OpenTelemetry API, which does nothing until Start was called. Spans carry
// routes, event names, statuses and kinds of errors, never ids of persons, texts
// or values.
package tracing

import (
	"context"
	"fmt"
	"os"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.37.0"
)

// Start begins to send spans over OTLP/HTTP, as the standard OTEL_EXPORTER_OTLP_
// variables of the environment say. Without an endpoint among them it does
// nothing. Stop sends what is left.
func Start(ctx context.Context, version string) (stop func(context.Context) error, err error) {
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
		return func(context.Context) error { return nil }, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("couldn't make the trace exporter: %w", err)
	}
	about, err := resource.New(ctx, resource.WithFromEnv(), resource.WithAttributes(
		semconv.ServiceName("underseal"), semconv.ServiceVersion(version)))
	if err != nil {
		return nil, fmt.Errorf("couldn't describe this process to the collector: %w", err)
	}
	provider := trace.NewTracerProvider(trace.WithBatcher(exporter), trace.WithResource(about))
	otel.SetTracerProvider(provider)
	otel.SetTextMapPropagator(propagation.TraceContext{})
	return provider.Shutdown, nil
}
