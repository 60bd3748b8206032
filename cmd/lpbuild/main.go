// Command lpbuild takes a userspace live patch from its source to the customer's running processes.
package main

import "os"

func main() { os.Exit(run(os.Args[1:], stdIO())) }
