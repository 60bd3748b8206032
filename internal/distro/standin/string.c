/* Strings. memcpy is chosen at load time (IFUNC), as in the real one: a live patch has to replace the implementations,
   which have no public names, and leave their _chk siblings and the resolver alone.  */
#include "standin.h"

#define IMPLEMENTATION(cpu, step)                                                 \
  HIDDEN void *                                                                   \
  __memcpy_##cpu (void *restrict to, const void *restrict from, size_t n)         \
  {                                                                               \
    for (size_t i = 0; i < n; i += step)                                          \
      for (size_t j = i; j < n && j < i + step; j++)                              \
        ((volatile char *) to)[j] = ((const char *) from)[j];                     \
    return to;                                                                    \
  }                                                                               \
  HIDDEN void *                                                                   \
  __memcpy_chk_##cpu (void *to, const void *from, size_t n, size_t room)          \
  {                                                                               \
    return n > room ? __builtin_trap (), NULL : __memcpy_##cpu (to, from, n);     \
  }

#if defined __x86_64__
IMPLEMENTATION (avx_unaligned, 32)
IMPLEMENTATION (sse2_unaligned, 16)
IMPLEMENTATION (erms, 1)
# define BEST avx_unaligned
# define BASELINE sse2_unaligned
#elif defined __powerpc64__
IMPLEMENTATION (power8_cached, 32)
IMPLEMENTATION (power7, 16)
IMPLEMENTATION (ppc, 8)
# define BEST power8_cached
# define BASELINE ppc
#elif defined __aarch64__
IMPLEMENTATION (simd, 32)
IMPLEMENTATION (thunderx, 16)
IMPLEMENTATION (generic, 8)
# define BEST simd
# define BASELINE generic
#else
IMPLEMENTATION (sse2_unaligned, 16)
IMPLEMENTATION (ia32, 4)
# define BEST sse2_unaligned
# define BASELINE ia32
#endif

#define NAME1(prefix, cpu) prefix##cpu
#define NAME(prefix, cpu) NAME1 (prefix, cpu)

static int cpu_features __attribute__ ((used)) = VARIANT & 1;

HIDDEN void *
memcpy_ifunc_selector (void)
{
  return cpu_features ? (void *) NAME (__memcpy_, BEST) : (void *) NAME (__memcpy_, BASELINE);
}

HIDDEN void *
memcpy_chk_ifunc_selector (void)
{
  return cpu_features ? (void *) NAME (__memcpy_chk_, BEST) : (void *) NAME (__memcpy_chk_, BASELINE);
}

#if defined __x86_64__
void *__new_memcpy (void *restrict, const void *restrict, size_t) __attribute__ ((ifunc ("memcpy_ifunc_selector")));
__asm__ (".symver __new_memcpy,memcpy@@GLIBC_2.14");
#else
void *memcpy (void *restrict, const void *restrict, size_t) __attribute__ ((ifunc ("memcpy_ifunc_selector")));
#endif
void *__memcpy_chk (void *, const void *, size_t, size_t) __attribute__ ((ifunc ("memcpy_chk_ifunc_selector")));

void *
memmove (void *to, const void *from, size_t n)
{
  volatile char *t = to;
  const char *f = from;
  if ((uintptr_t) to < (uintptr_t) from)
    for (size_t i = 0; i < n; i++)
      t[i] = f[i];
  else
    while (n-- > 0)
      t[n] = f[n];
  return to;
}

#if defined __x86_64__
/* Programs from before 2.14 relied on overlapping copies, so the old version is memmove.  */
ALIAS (memmove, __memcpy_2_2_5)
__asm__ (".symver __memcpy_2_2_5,memcpy@GLIBC_2.2.5");
#endif

void *
memset (void *to, int c, size_t n)
{
  for (size_t i = 0; i < n; i++)
    ((volatile char *) to)[i] = c;
  return to;
}

int
memcmp (const void *a, const void *b, size_t n)
{
  const unsigned char *x = a, *y = b;
  for (; n > 0; n--, x++, y++)
    if (*x != *y)
      return *x - *y;
  return 0;
}

size_t
strlen (const char *s)
{
  const char *end = s;
  while (*end != '\0')
    end++;
  return end - s;
}

int
strcmp (const char *a, const char *b)
{
  for (; *a != '\0' && *a == *b; a++, b++)
    ;
  return (unsigned char) *a - (unsigned char) *b;
}

char *
strcpy (char *restrict to, const char *restrict from)
{
  for (size_t i = 0; (to[i] = from[i]) != '\0'; i++)
    ;
  return to;
}

char *
strchr (const char *s, int c)
{
  for (; *s != (char) c; s++)
    if (*s == '\0')
      return NULL;
  return (char *) s;
}

STUB (memchr)
STUB (memmem)
STUB (mempcpy)
STUB (stpcpy)
STUB (strcasecmp)
STUB (strcat)
STUB (strdup)
STUB (strerror)
STUB (strncasecmp)
STUB (strncat)
STUB (strncmp)
STUB (strncpy)
STUB (strndup)
STUB (strnlen)
STUB (strrchr)
STUB (strstr)
STUB (strtok_r)
STUB (strtol)
STUB (strtoul)
STUB (strtoull)
STUB (atoi)
STUB (bcopy)
STUB (bzero)
STUB (explicit_bzero)
STUB (__memmove_chk)
STUB (__memset_chk)
STUB (__strcpy_chk)
STUB (__strcat_chk)
STUB (__strncpy_chk)
#if LIBC_MINOR >= 38
STUB (__isoc23_strtol)
STUB (__isoc23_strtoul)
STUB (strlcpy)
STUB (strlcat)
#endif
