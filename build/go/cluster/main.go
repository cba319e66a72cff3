// Command cluster is the part of the local cluster that upstream does not have: an edge that serves Ingresses over
// HTTPS, and volumes of honest size. README.md says what the one who starts it must do.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"k8s.io/klog/v2"

	"libre.sh/build/cluster/edge"
	"libre.sh/build/cluster/health"
	"libre.sh/build/cluster/kube"
	"libre.sh/build/cluster/volumes"
)

const usage = `usage: cluster COMMAND --state DIR [flags]

  run             serve Ingresses and provision volumes
  edge            serve Ingresses only
  volumes         provision volumes only
  volumes attach  make the devices of all volumes (before nodes start)
  volumes detach  free the devices of all volumes (after nodes stopped)
  volumes list    print the volumes, one JSON object a line

cluster COMMAND --help lists a command's flags.
`

type wrongUsage struct{ error }

// list is a flag that may be repeated; the first use replaces the default, an empty value empties the list.
type list struct {
	values []string
	set    bool
}

func (l *list) String() string { return strings.Join(l.values, ",") }

func (l *list) Set(value string) error {
	if !l.set {
		l.values, l.set = nil, true
	}
	if value != "" {
		l.values = append(l.values, value)
	}
	return nil
}

type options struct {
	kubeconfig, state, health, ca, node string
	https, http, suffixes, statusIPs    list
	folders                             bool
}

func (o *options) parse(command string, args []string) error {
	o.https.values, o.http.values = []string{"127.0.0.1:443"}, []string{"127.0.0.1:80"}
	o.suffixes.values = []string{"localhost"}
	flags := flag.NewFlagSet("cluster "+command, flag.ContinueOnError)
	flags.SetOutput(os.Stdout)
	flags.StringVar(&o.state, "state", "", "the cluster's state `folder`; nodes are nodes/<node>/ in it")
	if command == "volumes attach" || command == "volumes detach" {
		flags.StringVar(&o.node, "node", "", "only this `node`'s volumes")
	}
	if serves := command == "run" || command == "edge" || command == "volumes"; serves {
		flags.StringVar(&o.kubeconfig, "kubeconfig", "", "`file` of a cluster administrator")
		flags.StringVar(&o.health, "health", "", "`address` for /healthz and /readyz (none: not served)")
	}
	if command == "run" || command == "edge" {
		flags.Var(&o.https, "https", "`address` to serve HTTPS at (repeatable)")
		flags.Var(&o.http, "http", "`address` to redirect plain HTTP at (repeatable; '' for none)")
		flags.Var(&o.suffixes, "suffix", "domain `name` under which every host gets a certificate (repeatable)")
		flags.StringVar(&o.ca, "ca", "", "`folder` of the local CA (default STATE/ca)")
		flags.Var(&o.statusIPs, "status-ip", "`IP` written to Ingresses' status (repeatable; default: from --https)")
	}
	if command == "run" || command == "volumes" {
		flags.BoolVar(&o.folders, "volume-folders", false, "use plain folders (sizes not enforced) even where loop devices work")
	}
	if err := flags.Parse(args); err != nil {
		return wrongUsage{err}
	}
	if flags.NArg() > 0 {
		return wrongUsage{fmt.Errorf("unexpected argument %q", flags.Arg(0))}
	}
	if o.state == "" {
		return wrongUsage{errors.New("--state is missing: the cluster's state folder")}
	}
	state, err := filepath.Abs(o.state)
	if err != nil {
		return fmt.Errorf("state folder %s: %w", o.state, err)
	}
	if o.state = state; o.ca == "" {
		o.ca = filepath.Join(state, "ca")
	}
	return nil
}

// commandOf splits the command from its flags: "volumes attach" and "volumes" are both commands.
func commandOf(args []string) (string, []string) {
	if len(args) == 0 {
		return "", nil
	}
	if args[0] == "volumes" && len(args) > 1 && !strings.HasPrefix(args[1], "-") {
		return "volumes " + args[1], args[2:]
	}
	return args[0], args[1:]
}

func execute(ctx context.Context, args []string, out io.Writer) error {
	command, rest := commandOf(args)
	var o options
	switch command {
	case "run", "edge", "volumes", "volumes attach", "volumes detach", "volumes list":
		if err := o.parse(command, rest); err != nil {
			return err
		}
	case "", "help", "--help", "-h":
		fmt.Fprint(out, usage)
		return nil
	default:
		return wrongUsage{fmt.Errorf("unknown command %q; cluster --help lists them", command)}
	}
	store := volumes.Store{State: o.state}
	switch command {
	case "volumes attach":
		return store.AttachAll(o.node)
	case "volumes detach":
		return store.DetachAll(ctx, o.node)
	case "volumes list":
		return store.Print(out)
	}
	return serve(ctx, command, o, store)
}

// serve runs the parts that the command names until the context ends or one of them fails.
func serve(ctx context.Context, command string, o options, store volumes.Store) error {
	client, err := kube.Client(o.kubeconfig)
	if err != nil {
		return err
	}
	checks := &health.Checks{}
	parts := map[string]func(context.Context) error{}
	if command != "volumes" {
		part, err := edge.New(edge.Config{HTTPS: o.https.values, HTTP: o.http.values, Suffixes: o.suffixes.values,
			StatusIPs: o.statusIPs.values, CA: o.ca}, client, checks.Part("edge"))
		if err != nil {
			return fmt.Errorf("edge: %w", err)
		}
		parts["edge"] = part.Run
	}
	if command != "edge" {
		part := volumes.Controller{Store: store, Client: client, Folders: o.folders, Ready: checks.Part("volumes")}
		parts["volumes"] = part.Run
	}
	if o.health != "" {
		parts["health"] = func(ctx context.Context) error { return checks.Serve(ctx, o.health) }
	}
	return together(ctx, parts)
}

// together runs parts side by side; the first that ends stops the others, and its error is the result.
func together(ctx context.Context, parts map[string]func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan error, len(parts))
	for name, run := range parts {
		go func() {
			err := run(ctx)
			if err != nil {
				err = fmt.Errorf("%s: %w", name, err)
			}
			results <- err
		}()
	}
	var failed error
	for range parts {
		err := <-results
		cancel()
		failed = errors.Join(failed, err)
	}
	return failed
}

func main() {
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	klog.SetSlogLogger(slog.Default())
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	err := execute(ctx, os.Args[1:], os.Stdout)
	var usageError wrongUsage
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
	case errors.As(err, &usageError):
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}
