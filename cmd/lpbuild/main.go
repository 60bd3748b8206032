// Command lpbuild takes a userspace live patch from its source to the customer's running processes.
package main

import "os"

func main() { os.Exit(run(arguments(os.Args), stdIO())) }
