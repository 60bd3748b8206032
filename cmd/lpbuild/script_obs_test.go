package main

import (
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/lpbuild/lpbuild/internal/buildservice"
)

// buildserviceCommand starts a build service that has an empty package, and configures osc for it.
// $SECRET is the password.
func buildserviceCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: buildservice PROJECT PACKAGE")
	}
	service, err := buildservice.Start()
	ts.Check(err)
	ts.Defer(func() { service.Close() })
	service.Put(args[0], args[1], nil)
	home := ts.MkAbs(".home")
	ts.Check(os.MkdirAll(home, 0o755))
	config, err := service.Configure(home)
	ts.Check(err)
	ts.Setenv("OSC_CONFIG", config)
	ts.Setenv("SECRET", buildservice.Password)
	services.Store(filepath.Clean(ts.Getenv("WORK")), service)
}

// services are the build services of scripts, by the script's directory.
var services sync.Map

// requestsCommand checks the number of requests that the service has received.
func requestsCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: requests N")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	service, ok := services.Load(filepath.Clean(ts.Getenv("WORK")))
	if !ok {
		ts.Fatalf("requests: there is no build service")
	}
	if got := service.(*buildservice.Service).Requests(); len(got) != want {
		ts.Fatalf("%d requests, want %d: %q", len(got), want, got)
	}
}
