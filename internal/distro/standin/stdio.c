/* Output, and the static functions below it where real flaws were found.  */
#include "standin.h"

extern size_t strlen (const char *);
extern long write (int, const void *, size_t);

struct file
{
  int fd;
};
static struct file files[3] = { { 0 }, { 1 }, { 2 } };
struct file *stdin = &files[0];
struct file *stdout = &files[1];
struct file *stderr = &files[2];

HIDDEN int
__vfprintf_internal (char *to, size_t room, const char *format, va_list args)
{
  size_t n = 0;
  for (; *format != '\0'; format++)
    {
      const char *piece = format;
      size_t length = 1;
      if (format[0] == '%' && format[1] == 's')
        {
          piece = va_arg (args, const char *);
          length = strlen (piece);
          format++;
        }
      for (size_t i = 0; i < length; i++, n++)
        if (n + 1 < room)
          to[n] = piece[i];
    }
  if (room > 0)
    to[n < room ? n : room - 1] = '\0';
  return n;
}

int
vsnprintf (char *to, size_t room, const char *format, va_list args)
{
  return __vfprintf_internal (to, room, format, args);
}

int
snprintf (char *to, size_t room, const char *format, ...)
{
  va_list args;
  va_start (args, format);
  int n = __vfprintf_internal (to, room, format, args);
  va_end (args);
  return n;
}

int
printf (const char *format, ...)
{
  char line[256];
  va_list args;
  va_start (args, format);
  int n = __vfprintf_internal (line, sizeof line, format, args);
  va_end (args);
  return write (1, line, strlen (line)) < 0 ? -1 : n;
}

int
puts (const char *s)
{
  return write (1, s, strlen (s)) + write (1, "\n", 1);
}

/* Both were the way into CVE-2023-6246: a static function, and one with a name that only debug information has.  */
HIDDEN void
__vsyslog_internal (int priority, const char *format, va_list args, unsigned mode)
{
  char line[1024];
  if (__vfprintf_internal (line, sizeof line, format, args) > 0 && mode != 0)
    write (priority & 7 ? 1 : 2, line, strlen (line));
}

void
syslog (int priority, const char *format, ...)
{
  va_list args;
  va_start (args, format);
  __vsyslog_internal (priority, format, args, 1);
  va_end (args);
}

void
vsyslog (int priority, const char *format, va_list args)
{
  __vsyslog_internal (priority, format, args, 1);
}

STUB (dprintf)
STUB (fclose)
STUB (fdopen)
STUB (fflush)
STUB (fgets)
STUB (fopen)
STUB (fprintf)
STUB (fputc)
STUB (fputs)
STUB (fread)
STUB (fseek)
STUB (ftell)
STUB (fwrite)
STUB (getline)
STUB (perror)
STUB (putchar)
STUB (sprintf)
STUB (sscanf)
STUB (vfprintf)
STUB (vprintf)
STUB (vsprintf)
STUB (vasprintf)
STUB (asprintf)
STUB (__isoc99_sscanf)
STUB (__fprintf_chk)
STUB (__printf_chk)
STUB (__snprintf_chk)
STUB (__sprintf_chk)
STUB (__vfprintf_chk)
STUB (__vsnprintf_chk)
#if LIBC_MINOR >= 38
STUB (__isoc23_sscanf)
#endif
