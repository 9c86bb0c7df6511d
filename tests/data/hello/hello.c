/* Says one line and ends. No C library: two system calls of Linux on x86-64,
 * so that the whole program is about a kilobyte. VERSION comes from ./build. */

#define WRITE 1L
#define EXIT 60L

static const char line[] = "hello from orlop's hold, version " VERSION "\n";

static long call(long number, long first, long second, long third) {
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(first), "S"(second), "d"(third)
                     : "rcx", "r11", "memory");
    return result;
}

void _start(void) {
    long written = call(WRITE, 1, (long)line, sizeof line - 1);
    call(EXIT, written != sizeof line - 1, 0, 0);
    __builtin_unreachable();
}
