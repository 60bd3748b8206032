/* The dynamic loader, as far as shared objects link against it.  */
#define WITHOUT_ERRNO /* libc.so.6 is above it */
#include "standin.h"

char _rtld_global[64 + 8 * (VARIANT)];

/* CVE-2023-4911 was here: in a process long before a live patch can be, so it never has been live patched.  */
HIDDEN void
parse_tunables (char *tunables)
{
  *tunables = VARIANT;
}

void *
__tls_get_addr (size_t *index)
{
  parse_tunables (_rtld_global);
  return (void *) (index[0] + index[1]);
}
