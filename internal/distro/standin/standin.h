/* What all parts of the stand-in share.

   This is not a C library that a program could run on. It has the shape of one, as far as live patching looks at it:
   names, symbol versions, symbol types, NOPs before functions, hidden names that only debug information shows. The
   bodies are short, but honest enough to disassemble and to call.

   Given by the build:
     LIBC_MINOR  the 31 of 2.31
     VARIANT     a number that moves the code and the data, as a rebuild with other patches does
     BASE        the oldest symbol version of this architecture, a string
     BANNER      what names the build; makes its build-id unique  */

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* A static function that keeps its name and its place: neither inlined, nor cloned, nor merged with its like.  */
#define HIDDEN static __attribute__ ((used, noipa))

/* A second name for FN; the version script decides who sees it.  */
#define ALIAS(fn, name) extern __typeof (fn) name __attribute__ ((alias (#fn), copy (fn)));

/* A function that exists to be linked against.  */
#define STUB(name) \
  long name (void) { return unsupported (__LINE__); }

/* The same for a function that has a new version since 2.34 and keeps the old one, mostly as it came into libc.so.6 from
   another library. Both names are given here: ld drops an unversioned name beside an old version at the same place.  */
#if LIBC_MINOR >= 34
# define STUB_NEW_IN_2_34(name)                             \
  STUB (__##name)                                           \
  ALIAS (__##name, __##name##_old)                          \
  __asm__ (".symver __" #name "," #name "@@GLIBC_2.34\n\t"  \
           ".symver __" #name "_old," #name "@" BASE);
#else
# define STUB_NEW_IN_2_34(name) STUB (name)
#endif

#define STR1(x) #x
#define STR(x) STR1 (x)

#ifndef WITHOUT_ERRNO
extern int *__errno_location (void);

/* Every object has one of its own, as static functions of one name in several objects are common in the real one.  */
HIDDEN long
unsupported (int line)
{
  *__errno_location () = 38; /* ENOSYS */
  return -line;
}
#endif
