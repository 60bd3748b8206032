// Package ulp reads, writes and checks userspace live patches in libpulp's format.
package ulp
