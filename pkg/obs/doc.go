// Package obs brings a source package into the Open Build Service: into a checkout made by osc or
// git, and from there into a maintenance request.
//
// It changes only what lpbuild wrote: files that a person put into the checkout stay, and entries
// that only the checkout's changes file has are never lost. Only osc talks to the service and knows
// the passwords; this package reads, passes on and prints none.
package obs
