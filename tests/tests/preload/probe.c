/* What a program may do with descriptors, one scene per run, so that a run by itself and a run with a library
 * preloaded can be compared. `probe SCENE FILE [FILE]` prints what it sees; the first file is `LENGTH` bytes in which
 * each aligned word of four says its own number.
 *
 * Built without optimisation, for the compiler must not leave out what looks useless. */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LENGTH = 8 << 20, PIECE = 64 << 10 };

static const char *file, *other;
static char bytes[PIECE * 4];

static int opened(const char *path, int flags)
{
    int fd = open(path, flags);
    if (fd < 0) { printf("open: %m\n"); exit(1); }
    return fd;
}

/* What reads of a piece bring: how many bytes, and where in the file they are from. */
static void tell(const char *what, ssize_t count)
{
    if (what) printf("%s: ", what);
    if (count < 0) printf("%m\n");
    else if (count < 4) printf("%zd bytes\n", count);
    else {
        uint32_t first, at;
        memcpy(&first, bytes, 4);
        for (ssize_t i = 4; i + 4 <= count; i += 4) {
            memcpy(&at, bytes + i, 4);
            if (at != first + i / 4) { printf("torn at %zd\n", i); return; }
        }
        printf("%zd bytes from word %u\n", count, first);
    }
}

/* Reads until the library, if there is one, has had every reason to attach. */
static void warm(int fd)
{
    for (int i = 0; i < 4; i++) tell("warm", read(fd, bytes, PIECE));
}

static void where(const char *what, int fd) { printf("%s: at %jd\n", what, (intmax_t)lseek(fd, 0, SEEK_CUR)); }

static void ended(pid_t pid)
{
    int status;
    waitpid(pid, &status, 0);
    printf("child: %d %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -1, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

static void reads(void)
{
    int fd = opened(file, O_RDONLY);
    warm(fd);
    tell("pread", pread(fd, bytes, PIECE, 4096));
    tell("pread64", pread64(fd, bytes, PIECE, 8192));
    where("after pread", fd);
    struct iovec parts[4] = {{bytes, 100}, {NULL, 0}, {bytes + 100, 5000}, {bytes + 5100, PIECE}};
    tell("readv", readv(fd, parts, 4));
    tell("preadv", preadv(fd, parts, 4, 40));
    tell("preadv2", preadv2(fd, parts, 4, 80, 0));
    tell("preadv2 at the offset", preadv2(fd, parts, 4, -1, 0));
    tell("preadv2 with a flag", preadv2(fd, parts, 4, 80, RWF_HIPRI));
    tell("preadv2 with an unknown flag", preadv2(fd, parts, 4, 80, 1 << 30));
    where("after preadv2", fd);
    tell("one byte", read(fd, bytes, 1));
    tell("three bytes", read(fd, bytes, 3));
    tell("go on", read(fd, bytes, PIECE));
}

static void edges(void)
{
    int fd = opened(file, O_RDONLY);
    warm(fd);
    errno = 77;
    tell("good", read(fd, bytes, PIECE));
    printf("errno %d\n", errno);
    tell("nothing", read(fd, bytes, 0));
    tell("at the end", pread(fd, bytes, PIECE, LENGTH - 100));
    tell("behind the end", pread(fd, bytes, PIECE, LENGTH + 100));
    tell("before the begin", pread(fd, bytes, PIECE, -1));
    tell("nowhere", read(fd, NULL, PIECE));
    tell("no parts", readv(fd, NULL, 1));
    tell("minus one part", readv(fd, (struct iovec *)bytes, -1));
    tell("no descriptor", read(-1, bytes, PIECE));
    tell("none of these", read(9999, bytes, PIECE));
    tell("far away", read(1 << 30, bytes, PIECE));
    lseek(fd, LENGTH - PIECE - 10, SEEK_SET);
    for (int i = 0; i < 5; i++) { tell("to the end", read(fd, bytes, PIECE)); where("to the end", fd); }
    lseek(fd, LENGTH + 5000, SEEK_SET);
    tell("past the end", read(fd, bytes, PIECE));
    where("past the end", fd);
    lseek(fd, -8, SEEK_END);
    tell("eight", read(fd, bytes, PIECE));
    where("eight", fd);
    lseek(fd, 0, SEEK_SET);
    tell("again", read(fd, bytes, PIECE));
    close(fd);
    tell("closed", read(fd, bytes, PIECE));
    int writer = opened(file, O_WRONLY);
    for (int i = 0; i < 4; i++) tell("for writing", read(writer, bytes, PIECE));
    int directory = opened("/", O_RDONLY);
    for (int i = 0; i < 4; i++) tell("directory", read(directory, bytes, PIECE));
    int path = opened(file, O_PATH);
    for (int i = 0; i < 4; i++) tell("path", read(path, bytes, PIECE));
}

static void changes(void)
{
    int fd = opened(other, O_RDONLY), writer = opened(other, O_RDWR);
    warm(fd);
    for (int i = 0; i < 20; i++) {
        uint32_t word = 1000 * i;
        for (int j = 0; j < PIECE / 4; j++, word++) memcpy(bytes + 4 * j, &word, 4);
        if (pwrite(writer, bytes, PIECE, PIECE * (i % 3)) != PIECE) printf("pwrite: %m\n");
        memset(bytes, 0, sizeof bytes);
        tell("written", pread(fd, bytes, PIECE, PIECE * (i % 3)));
    }
    ftruncate(writer, 1000);
    tell("shorter", pread(fd, bytes, PIECE, 0));
    lseek(fd, 0, SEEK_SET);
    tell("shorter", read(fd, bytes, PIECE));
    tell("at its end", read(fd, bytes, PIECE));
    memset(bytes, 'x', PIECE);
    pwrite(writer, bytes, 3, 1000);
    tell("longer", read(fd, bytes, PIECE));
    tell("at its end", read(fd, bytes, PIECE));
    for (int i = 0; i < 4; i++) tell("own", pread(writer, bytes, PIECE, 0));
    unlink(other);
    tell("without a name", pread(fd, bytes, PIECE, 0));
}

static void sharers(void)
{
    int fd = opened(file, O_RDONLY);
    warm(fd);
    int twin = dup(fd), far = fcntl(fd, F_DUPFD, 700), third = dup2(fd, 33), fourth = dup3(fd, 34, O_CLOEXEC);
    for (int i = 0; i < 3; i++) {
        tell("twin", read(twin, bytes, PIECE));
        tell("far", read(far, bytes, PIECE));
        tell("third", read(third, bytes, PIECE));
        tell("fourth", read(fourth, bytes, PIECE));
        tell("first", read(fd, bytes, PIECE));
    }
    lseek(twin, 400, SEEK_SET);
    tell("moved", read(fd, bytes, PIECE));
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < 3; i++) tell("in a child", read(fd, bytes, PIECE));
        exit(0);
    }
    ended(pid);
    tell("after the child", read(fd, bytes, PIECE));
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        dup2(fd, 0);
        execlp("head", "head", "-c", "40", NULL);
        _exit(127);
    }
    ended(pid);
    tell("after another program", read(fd, bytes, PIECE) >= 0 ? 0 : -1);
    lseek(fd, 1 << 20, SEEK_SET);
    fflush(stdout);
    pid = fork();
    if (pid == 0) {
        dup2(fd, 0);
        execlp("dd", "dd", "bs=65536", "count=8", "of=/dev/null", "status=none", NULL);
        _exit(127);
    }
    ended(pid);
    where("after dd", fd);
    int pair[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    union { struct cmsghdr head; char room[CMSG_SPACE(sizeof(int))]; } control = {0};
    struct iovec part = {bytes, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    control.head = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
    sendmsg(pair[0], &message, 0);
    recvmsg(pair[1], &message, 0);
    int passed;
    memcpy(&passed, CMSG_DATA(&control.head), sizeof passed);
    for (int i = 0; i < 3; i++) {
        tell("passed", read(passed, bytes, PIECE));
        tell("kept", read(fd, bytes, PIECE));
    }
}

/* Numbers that come to stand for another file in ways that no library sees. */
static void numbers(void)
{
    int fd = opened(file, O_RDONLY);
    warm(fd);
    int second = opened(other, O_RDONLY);
    syscall(SYS_dup2, second, fd);
    tell("dup2 unseen", read(fd, bytes, PIECE));
    tell("and again", read(fd, bytes, PIECE));
    register long number asm("rax") = SYS_close;
    asm volatile("syscall" : "+r"(number) : "D"((long)fd) : "rcx", "r11", "memory");
    tell("closed unseen", read(fd, bytes, PIECE));
    number = SYS_open;
    asm volatile("syscall" : "+r"(number) : "D"(file), "S"((long)O_RDONLY), "d"(0L) : "rcx", "r11", "memory");
    fd = number;
    warm(fd);
    FILE *stream = fdopen(fd, "r");
    tell("stream", fread(bytes, 1, 40, stream));
    fclose(stream);
    stream = fopen(other, "r");
    printf("same number: %d\n", fileno(stream) == fd);
    tell("of the stream", read(fileno(stream), bytes, PIECE));
    fclose(stream);
    fd = opened(file, O_RDONLY);
    warm(fd);
    dup2(second, fd);
    tell("dup2", pread(fd, bytes, PIECE, 0));
    close_range(3, 600, 0);
    fd = opened(file, O_RDONLY);
    warm(fd);
    closefrom(3);
    tell("closed", read(fd, bytes, PIECE));
    fd = opened(other, O_RDONLY);
    warm(fd);
    for (int i = 3; i < 2000; i++) close(i);
    fd = opened(file, O_RDONLY);
    printf("lowest: %d\n", fd);
    warm(fd);
    stream = fdopen(dup(fd), "r");
    tell("stream", fread(bytes, 1, 400, stream));
    where("behind the stream's buffer", fd);
    tell("behind it", read(fd, bytes, PIECE));
    fflush(stdout);
    pid_t pid = vfork();
    if (pid == 0) {
        close(fd);
        open(other, O_RDONLY);
        read(fd, bytes, PIECE);
        read(fd, bytes, PIECE);
        read(fd, bytes, PIECE);
        _exit(0);
    }
    ended(pid);
    where("after vfork", fd);
    tell("after vfork", read(fd, bytes, PIECE));
    tell("after vfork", read(fd, bytes, PIECE));
}

static uint64_t sum_of(int fd)
{
    uint64_t sum = 0;
    char *own = malloc(PIECE);
    uint32_t word;
    for (ssize_t count; (count = read(fd, own, PIECE)) > 0;)
        for (ssize_t i = 0; i < count; i += 4) { memcpy(&word, own + i, 4); sum += word; }
    free(own);
    return sum;
}

static int shared_fd;
static void *summing(void *sum) { *(uint64_t *)sum = sum_of(shared_fd); return NULL; }

static void threads(void)
{
    shared_fd = opened(file, O_RDONLY);
    for (int round = 0; round < 10; round++) {
        pthread_t threads[8];
        uint64_t sums[8], all = 0;
        lseek(shared_fd, 0, SEEK_SET);
        for (int i = 0; i < 8; i++) pthread_create(&threads[i], NULL, summing, &sums[i]);
        for (int i = 0; i < 8; i++) { pthread_join(threads[i], NULL); all += sums[i]; }
        printf("every byte once: %ju\n", (uintmax_t)all);
    }
    int pipe_fd[2];
    pipe(pipe_fd);
    lseek(shared_fd, 0, SEEK_SET);
    fflush(stdout);
    for (int i = 0; i < 4; i++)
        if (fork() == 0) {
            uint64_t sum = sum_of(shared_fd);
            write(pipe_fd[1], &sum, sizeof sum);
            _exit(0);
        }
    uint64_t all = sum_of(shared_fd);
    for (int i = 0; i < 4; i++) { uint64_t sum; read(pipe_fd[0], &sum, sizeof sum); all += sum; wait(NULL); }
    printf("every byte once: %ju\n", (uintmax_t)all);
}

static void *opening(void *seed)
{
    for (int i = 0; i < 300; i++) {
        const char *path = (i + (intptr_t)seed) % 2 ? file : other;
        int fd = open(path, O_RDONLY);
        uint32_t words[1024];
        for (int j = 0; j < 4; j++) {
            if (pread(fd, words, sizeof words, 4096 * j) != sizeof words) return "short";
            if (words[0] != 1024u * j + (path == file ? 0 : 5)) return "wrong file";
        }
        close(fd);
    }
    return "right";
}

static void opens(void)
{
    pthread_t threads[8];
    for (intptr_t i = 0; i < 8; i++) pthread_create(&threads[i], NULL, opening, (void *)i);
    for (int i = 0; i < 8; i++) {
        void *outcome;
        pthread_join(threads[i], &outcome);
        puts(outcome);
    }
}

static volatile int handled;
static sigjmp_buf back;
static int signal_fd;

static void reads_in_a_handler(int number)
{
    uint32_t words[1024];
    int saved = errno;
    (void)number;
    if (pread(signal_fd, words, sizeof words, 8192) != sizeof words || words[0] != 2048) handled = 1 << 30;
    handled++;
    errno = saved;
}

static void leaves(int number) { (void)number; handled++; siglongjmp(back, 1); }

static void every(int microseconds, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_NODEFER};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval timer = {{0, microseconds}, {0, microseconds}};
    setitimer(ITIMER_REAL, &timer, NULL);
}

static void signals(void)
{
    int fd = signal_fd = opened(file, O_RDONLY);
    warm(fd);
    every(200, reads_in_a_handler);
    while (handled < 300) {
        lseek(fd, 0, SEEK_SET);
        ssize_t count = read(fd, bytes, PIECE);
        if (count != PIECE) printf("read %zd: %m\n", count);
        void *some = malloc(1000 + handled);
        int again = open(file, O_RDONLY);
        for (int i = 0; i < 4; i++) pread(again, bytes, 4096, 0);
        close(again);
        free(some);
    }
    printf("handled well: %d\n", handled < 1 << 30);
    every(0, SIG_IGN);
    int pair[2];
    pipe(pair);
    every(10000, reads_in_a_handler);
    tell("interrupted", read(pair[0], bytes, 100));
    every(0, SIG_IGN);
    handled = 0;
    every(300, leaves);
    sigsetjmp(back, 1);
    while (handled < 200) {
        int again = open(file, O_RDONLY);
        for (int i = 0; i < 6; i++) {
            uint32_t words[1024];
            if (pread(again, words, sizeof words, 4096) != sizeof words || words[0] != 1024) printf("wrong\n");
        }
        close(again);
    }
    every(0, SIG_IGN);
    lseek(fd, 0, SEEK_SET);
    warm(fd);
}

static void *for_ever(void *unused)
{
    (void)unused;
    char own[4096];
    for (;;) pread(shared_fd, own, sizeof own, 0);
    return NULL;
}

static void cancels(void)
{
    shared_fd = opened(file, O_RDONLY);
    warm(shared_fd);
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        void *end;
        pthread_create(&thread, NULL, for_ever, NULL);
        usleep(500);
        pthread_cancel(thread);
        pthread_join(thread, &end);
        printf("cancelled: %d\n", end == PTHREAD_CANCELED);
    }
}

static void confined(void)
{
    int fd = opened(file, O_RDONLY);
    struct sock_filter steps[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_connect, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
    };
    struct sock_fprog filter = {sizeof steps / sizeof *steps, steps};
    /* Unseen, as if from whoever started us. */
    register long number asm("rax") = SYS_prctl;
    asm volatile("syscall" : "+r"(number) : "D"((long)PR_SET_NO_NEW_PRIVS), "S"(1L), "d"(0L) : "rcx", "r11", "memory");
    number = SYS_seccomp;
    asm volatile("syscall" : "+r"(number) : "D"((long)SECCOMP_SET_MODE_FILTER), "S"(0L), "d"(&filter)
                 : "rcx", "r11", "memory");
    printf("socket: %d\n", socket(AF_UNIX, SOCK_SEQPACKET, 0));
    warm(fd);
    warm(fd);
    int second = opened(other, O_RDONLY);
    warm(second);
    fflush(stdout);
    struct sock_filter strict[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_read, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    filter = (struct sock_fprog){sizeof strict / sizeof *strict, strict};
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter)) _exit(3);
    for (int i = 0; i < 5; i++)
        if (read(fd, bytes, PIECE) != PIECE || read(second, bytes, PIECE) != PIECE) syscall(SYS_exit, 4);
    syscall(SYS_exit, 0);
}

/* Many descriptors, select(2), and who closes every number there is. */
static void crowd(void)
{
    int fd = opened(file, O_RDONLY), pair[2], many[400];
    warm(fd);
    tell("warm", pread(fd, bytes, PIECE, 0));
    pipe(pair);
    printf("low numbers: %d %d\n", pair[0], pair[1]);
    for (int i = 0; i < 400; i++) many[i] = dup(fd);
    printf("and on: %d to %d\n", many[0], many[399]);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(pair[0], &set);
    for (int i = 0; i < 400; i++) FD_SET(many[i], &set);
    printf("ready: %d\n", select(FD_SETSIZE, &set, NULL, NULL, &(struct timeval){0}));
    write(pair[1], "x", 1);
    FD_SET(pair[0], &set);
    printf("ready: %d, %d\n", select(FD_SETSIZE, &set, NULL, NULL, NULL), !!FD_ISSET(pair[0], &set));
    for (int i = 0; i < 400; i += 50) tell("one of many", read(many[i], bytes, PIECE));
    for (int i = 0; i < 400; i++) close(many[i]);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        /* As daemons do. */
        setsid();
        close_range(3, ~0u, 0);
        fd = opened(file, O_RDONLY);
        printf("the daemon's: %d\n", fd);
        warm(fd);
        exit(0);
    }
    ended(pid);
    tell("after the daemon", read(fd, bytes, PIECE));
    for (int i = getdtablesize(); --i >= 3;) if (i != fd) close(i);
    tell("alone", read(fd, bytes, PIECE));
    int again = opened(other, O_RDONLY);
    printf("next: %d\n", again);
    warm(again);
    tell("again", pread(again, bytes, PIECE, 0));
    tell("alone", read(fd, bytes, PIECE));
}

/* Reads where it is told to. */
static void follows(void)
{
    int fd = opened(file, O_RDONLY);
    long at;
    while (scanf("%ld", &at) == 1) {
        memset(bytes, 0, sizeof bytes);
        tell(NULL, pread(fd, bytes, PIECE, at));
        fflush(stdout);
    }
}

int main(int count, char **words)
{
    static const struct { const char *name; void (*play)(void); } scenes[] = {
        {"reads", reads}, {"edges", edges}, {"changes", changes}, {"sharers", sharers}, {"numbers", numbers},
        {"threads", threads}, {"opens", opens}, {"signals", signals}, {"cancels", cancels}, {"confined", confined},
        {"crowd", crowd}, {"follows", follows},
    };
    if (count != 4) return 2;
    file = words[2], other = words[3];
    for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++)
        if (!strcmp(scenes[i].name, words[1])) { scenes[i].play(); return 0; }
    return 2;
}
