/* The character set converter ISO-2022-CN-EXT, a module that iconv loads. CVE-2024-2961 was in its static function.  */
#include "standin.h"

HIDDEN int
to_iso2022cn_ext (unsigned char *out, const unsigned *in, size_t n)
{
  for (size_t i = 0; i < n; i++)
    out[i] = in[i] < 0x80 ? in[i] : 0x1b + (VARIANT);
  return unsupported (n) < 0;
}

int
gconv (void *step, void *data, const unsigned char **in, const unsigned char *end)
{
  return step == NULL ? -1 : to_iso2022cn_ext (data, (const unsigned *) *in, end - *in);
}

int
gconv_init (void *step)
{
  return step == NULL;
}
