// Package console is the admin server of a broker: what an operator, a scraper and a supervisor
// ask over HTTP. It shows and, but for what chaos.go does, never changes.
//
//	/              page for people: the cluster, its brokers, its topics
//	/topics/NAME   page for people: a topic's configuration and partitions
//	/healthz       200 while the process answers
//	/readyz        200 while the broker serves clients, else 503 with the reason
//	/metrics       Prometheus
//	/debug/pprof/  profiles of the Go runtime
//	/chaos/kill    ends an actor, for whoever tries out what happens then; off unless configured
//
// Nobody has to log in, so the server listens on loopback unless told otherwise, and then answers
// only to names of this machine: a page from elsewhere in the operator's browser cannot read it by
// pointing its own name at 127.0.0.1. The pages are plain HTML and one style sheet, without script,
// and everything in them is escaped, since topics are named by strangers.
//
// What a broker has to tell is the interface Source. Begin with New; page.go makes the pages.
package console

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/troupe-mq/troupe/wire"
)

//go:embed assets
var assets embed.FS

// Source is what a broker tells the console. Its methods are called on any goroutine.
type Source interface {
	// Ready returns nil while the broker serves clients, and otherwise the reason why not.
	Ready() error
	// BrokerID returns the broker's own id, or wire.NoBroker before it has one.
	BrokerID() wire.BrokerID
	// View returns the newest metadata, or nil before there is any.
	View() wire.View
	// Offsets returns what a replica on this broker knows of its partition, and false when
	// there is no replica here.
	Offsets(id wire.TopicID, partition int32) (Offsets, bool)
	// TopicConfigs returns the configuration of a topic that is in force here.
	TopicConfigs(name string) []wire.ConfigEntry
	// Cluster describes the brokers as this one knows them; nothing before it knows any.
	Cluster() wire.ClusterDescription
}

// Offsets are the ends of a partition's log, and its size.
type Offsets struct {
	LogStart      wire.Offset
	HighWatermark wire.Offset
	Bytes         int64
}

// Config is what the console has to know besides its Source.
type Config struct {
	Version           string        // of Troupe, for the page
	ReadHeaderTimeout time.Duration // for a client that connects and says nothing
	IdleTimeout       time.Duration // for a connection that is kept alive
	WriteTimeout      time.Duration // of one answer, and so the longest profile

	// ChaosToken is what whoever ends actors has to show. Without one, or without Kill, nobody may.
	ChaosToken string
	// Kill ends an actor of the broker in some way. Its errors wrap a wire.ErrorCode.
	Kill func(actor, how string) error
}

// DefaultConfig suits browsers, scrapers and profiles of up to five minutes.
func DefaultConfig() Config {
	return Config{
		Version:           "unknown",
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		WriteTimeout:      5 * time.Minute,
	}
}

// Validate checks that no client can hold a connection for ever.
func (c Config) Validate() error {
	if c.ReadHeaderTimeout <= 0 || c.IdleTimeout <= 0 || c.WriteTimeout <= 0 {
		return errors.New("console: every timeout must be more than 0")
	}
	return nil
}

const (
	maxHeaderBytes     = 16 << 10
	maxScrapesInFlight = 4
	scrapeTimeout      = 10 * time.Second
)

// Console is the admin server.
type Console struct {
	source  Source
	version string
	chaos   chaos
	server  *http.Server
	log     *slog.Logger
}

// New returns a console that tells about source and shows the metrics of registry.
func New(source Source, registry prometheus.Gatherer, log *slog.Logger, config Config) (*Console, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	c := &Console{source: source, version: config.Version, log: log, chaos: chaos{token: config.ChaosToken, kill: config.Kill}}
	c.server = &http.Server{
		Handler:           c.routes(registry),
		ReadHeaderTimeout: config.ReadHeaderTimeout,
		ReadTimeout:       2 * config.ReadHeaderTimeout,
		WriteTimeout:      config.WriteTimeout,
		IdleTimeout:       config.IdleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return c, nil
}

// Serve answers on listener until Shutdown, and then returns nil.
func (c *Console) Serve(listener net.Listener) error {
	if isLoopback(listener.Addr()) {
		c.server.Handler = onlyLocalNames(c.server.Handler)
	}
	if err := c.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("admin server: %w", err)
	}
	return nil
}

// Shutdown stops listening, waits for answers under way, and cuts off those that take longer
// than ctx allows.
func (c *Console) Shutdown(ctx context.Context) error {
	if err := c.server.Shutdown(ctx); err != nil {
		return c.server.Close()
	}
	return nil
}

func (c *Console) routes(registry prometheus.Gatherer) http.Handler {
	styles, err := fs.Sub(assets, "assets")
	if err != nil {
		panic(err) // the directory is embedded
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", c.overview)
	mux.HandleFunc("GET /topics/{name}", c.topic)
	mux.Handle("GET /console.css", http.FileServerFS(styles))
	mux.HandleFunc("GET /healthz", c.healthz)
	mux.HandleFunc("GET /readyz", c.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapesInFlight,
		Timeout:             scrapeTimeout,
	}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	if c.chaos.kill != nil && c.chaos.token != "" {
		mux.HandleFunc("POST /chaos/kill", c.chaos.serveKill)
	}
	return safely(mux)
}

func (c *Console) healthz(w http.ResponseWriter, _ *http.Request) {
	writeText(w, http.StatusOK, "ok")
}

func (c *Console) readyz(w http.ResponseWriter, _ *http.Request) {
	if err := c.source.Ready(); err != nil {
		writeText(w, http.StatusServiceUnavailable, "not ready: "+err.Error())
		return
	}
	writeText(w, http.StatusOK, "ready")
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // a client that has gone needs no answer
}

// safely tells browsers to run nothing, guess nothing, frame nothing and keep nothing.
func safely(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// onlyLocalNames refuses requests that came to loopback under a name which is not this machine's.
func onlyLocalNames(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		_, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if err != nil && host != "localhost" && !strings.HasSuffix(host, ".localhost") {
			http.Error(w, "this server answers to localhost only; to reach it by a name, listen on another address with --admin", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func isLoopback(address net.Addr) bool {
	addrPort, err := netip.ParseAddrPort(address.String())
	return err == nil && addrPort.Addr().IsLoopback()
}
