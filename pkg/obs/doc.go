// Package obs brings a source package into the Open Build Service: into a checkout that osc made, and from there into a
// maintenance request.
//
// It changes what lpbuild wrote and nothing else: a file that a person put into the checkout stays, and an entry of the
// changes file that only the checkout has is never lost. The service itself is spoken to by osc alone, which has the
// passwords; none is read, passed on or printed here.
package obs
