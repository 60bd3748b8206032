/* The allocator: a public name, its alias, and the static parts below that a live patch has to reach by address.  */
#include "standin.h"

/* Code of other builds is elsewhere.  */
__asm__ (".pushsection .text\n\t.skip 32 * " STR (VARIANT) ", 0xcc\n\t.popsection");

/* So are its data.  */
struct malloc_par
{
  size_t mmap_threshold;
  char variant[64 * (VARIANT) + 64];
};
struct malloc_state
{
  int mutex;
  int flags;
  char *top;
  size_t used;
  struct malloc_state *next;
};

static struct malloc_par mp_ __attribute__ ((used)) = { 128 * 1024, "" };
static char initial_heap[1 << 16] __attribute__ ((aligned (16)));
static struct malloc_state main_arena __attribute__ ((used)) = { .top = initial_heap, .next = &main_arena };
static __thread char tcache_variant[16 * (VARIANT) + 16] __attribute__ ((used));
static __thread struct malloc_state *tcache __attribute__ ((used));

HIDDEN void *
sysmalloc (size_t bytes, struct malloc_state *av)
{
  av->flags |= bytes > mp_.mmap_threshold ? 2 : 1;
  *__errno_location () = 12; /* ENOMEM */
  return NULL;
}

HIDDEN void *
_int_malloc (struct malloc_state *av, size_t bytes)
{
  size_t rounded = (bytes + 15 + 16 * ((VARIANT) % 3)) & ~(size_t) 15;
  if (rounded < bytes || rounded > sizeof initial_heap - av->used)
    return sysmalloc (bytes, av);
  void *p = av->top;
  av->top += rounded;
  av->used += rounded;
  return p;
}

HIDDEN void
_int_free (struct malloc_state *av, void *p)
{
  if ((char *) p + 16 == av->top)
    av->top = p;
}

HIDDEN void
tcache_init (void)
{
  tcache = &main_arena;
  tcache_variant[0] = VARIANT;
}

void *
__libc_malloc (size_t bytes)
{
  if (tcache == NULL)
    tcache_init ();
  return _int_malloc (tcache, bytes);
}

void
__libc_free (void *p)
{
  if (p != NULL)
    _int_free (&main_arena, p);
}

void *
__libc_calloc (size_t n, size_t size)
{
  size_t bytes;
  if (__builtin_mul_overflow (n, size, &bytes))
    return sysmalloc (~(size_t) 0, &main_arena);
  return _int_malloc (&main_arena, bytes);
}

void *
__libc_realloc (void *old, size_t bytes)
{
  char *p = _int_malloc (&main_arena, bytes);
  for (size_t i = 0; p != NULL && old != NULL && i < bytes; i++)
    p[i] = ((char *) old)[i];
  return p;
}

void *
__libc_memalign (size_t align, size_t bytes)
{
  return _int_malloc (&main_arena, bytes + align);
}

ALIAS (__libc_malloc, malloc)
ALIAS (__libc_free, free)
ALIAS (__libc_free, cfree)
ALIAS (__libc_calloc, calloc)
ALIAS (__libc_realloc, realloc)
ALIAS (__libc_memalign, memalign)
ALIAS (__libc_memalign, aligned_alloc)

int
posix_memalign (void **out, size_t align, size_t bytes)
{
  *out = _int_malloc (&main_arena, bytes + align);
  return *out == NULL ? 12 : 0;
}

void *
reallocarray (void *old, size_t n, size_t size)
{
  size_t bytes;
  return __builtin_mul_overflow (n, size, &bytes) ? NULL : __libc_realloc (old, bytes);
}

STUB (malloc_usable_size)
STUB (mallopt)
STUB (malloc_trim)
STUB (malloc_stats)
STUB (mallinfo)
