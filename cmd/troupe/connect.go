package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/troupe-mq/troupe/wire"
	"github.com/troupe-mq/troupe/wire/client"
)

const (
	defaultBootstrap = "127.0.0.1:9092"
	defaultPort      = "9092"

	// dialTimeout bounds the first connection: whoever waits in a shell wants to know soon.
	dialTimeout = 5 * time.Second
	// adminTimeout bounds one question to the cluster.
	adminTimeout = 30 * time.Second
)

// bootstrapFlag adds --bootstrap to the flags of a command that talks to a cluster.
func bootstrapFlag(set *pflag.FlagSet, bootstrap *string) {
	set.StringVar(bootstrap, "bootstrap", cmp.Or(os.Getenv("TROUPE_BOOTSTRAP"), defaultBootstrap),
		"`addresses` of brokers, comma separated (TROUPE_BOOTSTRAP)")
}

// connect returns a client once one of the brokers has taken a connection: the client itself
// would go on trying, and a wrong address would look like a slow cluster.
func connect(ctx context.Context, bootstrap string) (*client.Client, error) {
	return connectWith(ctx, bootstrap, client.Config{})
}

// connectWith is connect for a client with a configuration, but for its addresses.
func connectWith(ctx context.Context, bootstrap string, cfg client.Config) (*client.Client, error) {
	addresses, err := parseBootstrap(bootstrap)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	var refusals []error
	for _, address := range addresses {
		conn, err := dialer.DialContext(ctx, "tcp", address)
		if err == nil {
			_ = conn.Close() // nothing was sent on it
			cfg.Addrs = addresses
			return greet(ctx, cfg)
		}
		if ctx.Err() != nil {
			return nil, errInterrupted
		}
		refusals = append(refusals, err)
	}
	return nil, fmt.Errorf("no broker at %s: %w; start one with \"troupe broker\", or say where it is with --bootstrap host:port",
		strings.Join(addresses, ", "), rootCause(refusals[0]))
}

// forEach does the same for each of a list, and goes on where one fails: the error has a line for each that did. When ctx ends it
// stops, and those that are left are an error too.
func forEach[T any](ctx context.Context, list []T, do func(T) error) error {
	var failed []error
	for i, one := range list {
		err := do(one)
		over := ctx.Err() != nil // the others would only fail by that
		if err == nil && over && i+1 < len(list) {
			err = ctx.Err()
		}
		if err != nil {
			failed = append(failed, err)
		}
		if over {
			break
		}
	}
	return errors.Join(failed...)
}

var errInterrupted = errors.New("interrupted")

// greet returns a client, unless what it would talk to is no broker.
func greet(ctx context.Context, cfg client.Config) (*client.Client, error) {
	c, err := client.NewWith(cfg)
	if err != nil {
		return nil, err
	}
	short, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	err = c.Reach(short)
	if !errors.Is(err, client.ErrNotTroupe) {
		return c, nil // a broker that is slow or busy is told by what is asked of it
	}
	_ = c.Close() // nothing was done with it
	where := strings.Join(cfg.Addrs, ", ")
	if strings.Contains(err.Error(), "HTTP") {
		return nil, fmt.Errorf("%s speaks HTTP: that is the admin port of a broker, or no broker; clients use port %s unless told otherwise", where, defaultPort)
	}
	return nil, fmt.Errorf("%s is no broker of Troupe, or a much older one; say where one is with --bootstrap host:port", where)
}

// rootCause drops the addresses that a network error repeats.
func rootCause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// parseBootstrap reads addresses; one without a port has Kafka's usual one.
func parseBootstrap(bootstrap string) ([]string, error) {
	var addresses []string
	for entry := range strings.SplitSeq(bootstrap, ",") {
		entry = strings.TrimSpace(entry)
		if entry == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(entry); err != nil {
			entry = net.JoinHostPort(strings.Trim(entry, "[]"), defaultPort)
		}
		addresses = append(addresses, entry)
	}
	if len(addresses) == 0 {
		return nil, usagef("--bootstrap is empty; write host:port, as in --bootstrap %s", defaultBootstrap)
	}
	return addresses, nil
}

// explain makes one line for a person out of an error of the cluster: Kafka's name for it, the
// sentence, and what to do.
func explain(err error, hint string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		text := strings.ReplaceAll(err.Error(), context.DeadlineExceeded.Error(), fmt.Sprintf("no answer within %.0f s", adminTimeout.Seconds()))
		return fmt.Errorf("%s; is the cluster up? its log and the admin port's /readyz say more", text)
	case hint != "":
		return fmt.Errorf("%w; %s", err, hint)
	}
	return err
}

// topicName matches the names that a topic may be given, and not yet all that are refused.
var topicName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`)

// hintFor says what to do about an error on a topic.
func hintFor(err error, topic string) string {
	switch wire.Code(err) {
	case wire.UnknownTopicOrPartition:
		if !topicName.MatchString(topic) {
			return "see what there is with \"troupe topic list\""
		}
		return fmt.Sprintf("see what there is with \"troupe topic list\", or make it with \"troupe topic create %s\"", topic)
	case wire.CorruptMessage:
		return "\"troupe log verify DIR\" on the broker names the place"
	case wire.TopicAlreadyExists:
		return "--if-not-exists accepts that"
	case wire.InvalidReplicationFactor:
		return "there must be a broker for every replica; ask for fewer with --replication-factor"
	case wire.MessageTooLarge:
		return fmt.Sprintf("allow more with \"troupe topic alter %s --config max.message.bytes=N\"", topic)
	case wire.OffsetOutOfRange:
		return fmt.Sprintf("see where the log begins and ends with \"troupe topic describe %s\"", topic)
	default:
		return ""
	}
}
