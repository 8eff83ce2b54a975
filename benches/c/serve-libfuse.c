/*
 * The tiny file system on libfuse's low-level interface: `serve-libfuse DIR [threads|clone|uring|one] [CACHING]`.
 *
 * It answers like `tiny/src/lib.rs`; read there what is served. Slow reads are answered by a timer thread, so
 * no worker waits for them. Built against Debian's libfuse and against a newer one that knows io_uring.
 */
#define FUSE_USE_VERSION 312
#define _GNU_SOURCE

#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse_lowlevel.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define BIG_BYTES ((size_t)1 << 30)
#define MANY_FILES 10000
#define TMP_FILES_MAX 4096
#define SLOW_READ_NS 10000000L
#define SLOW_READS_MAX 65536

enum { ROOT = 1, BIG, CACHED, MANY, TMP, SLOW, FIRST_MANY = 100, FIRST_TMP = 1000000 };

static const struct {
	const char *name;
	fuse_ino_t inode;
} top[] = {{"big", BIG}, {"cached", CACHED}, {"many", MANY}, {"tmp", TMP}, {"slow", SLOW}};
#define TOP (sizeof top / sizeof *top)

static const char *big;
static double names_s, attributes_s;
static int want_plus;

/* The files of `tmp`: found by name through a small chained hash, by inode through its position. */
struct tmp_file {
	char name[56];
	char *bytes;
	size_t length, room;
	fuse_ino_t inode; /* 0: free */
	struct tmp_file *next;
};

static pthread_rwlock_t tmp_lock = PTHREAD_RWLOCK_INITIALIZER;
static struct tmp_file tmp_files[TMP_FILES_MAX], *tmp_chains[TMP_FILES_MAX];
static unsigned tmp_free[TMP_FILES_MAX], tmp_free_count;
static uint64_t tmp_generation;

static unsigned hash(const char *name)
{
	unsigned sum = 2166136261u;
	while (*name)
		sum = (sum ^ (unsigned char)*name++) * 16777619u;
	return sum % TMP_FILES_MAX;
}

/* An inode carries its file's position, and a count that no later file repeats. */
static struct tmp_file *tmp_by_inode(fuse_ino_t inode)
{
	struct tmp_file *file = &tmp_files[(inode - FIRST_TMP) % TMP_FILES_MAX];
	return file->inode == inode ? file : NULL;
}

static struct tmp_file *tmp_by_name(const char *name)
{
	for (struct tmp_file *file = tmp_chains[hash(name)]; file; file = file->next)
		if (!strcmp(file->name, name))
			return file;
	return NULL;
}

static void attributes(fuse_ino_t inode, struct stat *out)
{
	memset(out, 0, sizeof *out);
	int directory = inode == ROOT || inode == MANY || inode == TMP;
	out->st_ino = inode;
	out->st_mode = directory ? S_IFDIR | 0777 : S_IFREG | 0644;
	out->st_nlink = 1;
	out->st_blksize = 4096;
	if (inode == BIG || inode == CACHED || inode == SLOW) {
		out->st_size = BIG_BYTES;
	} else if (inode >= FIRST_TMP) {
		pthread_rwlock_rdlock(&tmp_lock);
		struct tmp_file *file = tmp_by_inode(inode);
		out->st_size = file ? file->length : 0;
		pthread_rwlock_unlock(&tmp_lock);
	}
	out->st_blocks = (out->st_size + 511) / 512;
}

static void entry(fuse_ino_t inode, struct fuse_entry_param *out)
{
	memset(out, 0, sizeof *out);
	out->ino = inode;
	out->attr_timeout = attributes_s;
	out->entry_timeout = names_s;
	attributes(inode, &out->attr);
}

static fuse_ino_t find(fuse_ino_t parent, const char *name)
{
	if (parent == ROOT) {
		for (size_t at = 0; at < TOP; at++)
			if (!strcmp(name, top[at].name))
				return top[at].inode;
		return 0;
	}
	if (parent == MANY) {
		if (strncmp(name, "file", 4))
			return 0;
		unsigned long number = strtoul(name + 4, NULL, 10);
		return number < MANY_FILES ? FIRST_MANY + number : 0;
	}
	pthread_rwlock_rdlock(&tmp_lock);
	struct tmp_file *file = tmp_by_name(name);
	fuse_ino_t inode = file ? file->inode : 0;
	pthread_rwlock_unlock(&tmp_lock);
	return inode;
}

static void on_init(void *context, struct fuse_conn_info *connection)
{
	(void)context;
	connection->max_background = 64;
	connection->congestion_threshold = 48;
	if (!want_plus)
		connection->want &= ~(FUSE_CAP_READDIRPLUS | FUSE_CAP_READDIRPLUS_AUTO);
}

static void on_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
	fuse_ino_t inode = find(parent, name);
	struct fuse_entry_param out;
	if (!inode) {
		fuse_reply_err(request, ENOENT);
		return;
	}
	entry(inode, &out);
	fuse_reply_entry(request, &out);
}

static void on_getattr(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file)
{
	struct stat out;
	(void)file;
	attributes(inode, &out);
	fuse_reply_attr(request, &out, attributes_s);
}

static int tmp_resize(struct tmp_file *file, size_t length)
{
	if (length > file->room) {
		char *bytes = realloc(file->bytes, length);
		if (!bytes)
			return ENOMEM;
		file->bytes = bytes;
		file->room = length;
	}
	if (length > file->length)
		memset(file->bytes + file->length, 0, length - file->length);
	file->length = length;
	return 0;
}

static void on_setattr(fuse_req_t request, fuse_ino_t inode, struct stat *set, int valid,
		       struct fuse_file_info *info)
{
	(void)info;
	if (valid & FUSE_SET_ATTR_SIZE && inode >= FIRST_TMP) {
		pthread_rwlock_wrlock(&tmp_lock);
		struct tmp_file *file = tmp_by_inode(inode);
		if (file)
			tmp_resize(file, set->st_size);
		pthread_rwlock_unlock(&tmp_lock);
	}
	on_getattr(request, inode, NULL);
}

static void on_open(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file)
{
	file->direct_io = inode == BIG || inode == SLOW;
	fuse_reply_open(request, file);
}

static void on_create(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *info)
{
	struct fuse_entry_param out;
	(void)parent, (void)mode;
	pthread_rwlock_wrlock(&tmp_lock);
	if (!tmp_free_count || strlen(name) >= sizeof tmp_files->name) {
		pthread_rwlock_unlock(&tmp_lock);
		fuse_reply_err(request, ENOSPC);
		return;
	}
	unsigned at = tmp_free[--tmp_free_count];
	struct tmp_file *file = &tmp_files[at], **chain = &tmp_chains[hash(name)];
	strcpy(file->name, name);
	file->length = 0;
	file->inode = FIRST_TMP + TMP_FILES_MAX * ++tmp_generation + at;
	file->next = *chain;
	*chain = file;
	fuse_ino_t inode = file->inode;
	pthread_rwlock_unlock(&tmp_lock);
	entry(inode, &out);
	fuse_reply_create(request, &out, info);
}

static void on_unlink(fuse_req_t request, fuse_ino_t parent, const char *name)
{
	int error = ENOENT;
	(void)parent;
	pthread_rwlock_wrlock(&tmp_lock);
	for (struct tmp_file **link = &tmp_chains[hash(name)]; *link; link = &(*link)->next) {
		struct tmp_file *file = *link;
		if (strcmp(file->name, name))
			continue;
		*link = file->next;
		file->inode = 0;
		tmp_free[tmp_free_count++] = file - tmp_files;
		error = 0;
		break;
	}
	pthread_rwlock_unlock(&tmp_lock);
	fuse_reply_err(request, error);
}

/* All slow reads wait equally long, so they come due in the order in which they came. */
struct slow_read {
	fuse_req_t request;
	const char *bytes;
	size_t length;
	struct timespec due;
};

static struct slow_read slow_reads[SLOW_READS_MAX];
static size_t slow_in, slow_out;
static pthread_mutex_t slow_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t slow_came = PTHREAD_COND_INITIALIZER;

static void slow_later(fuse_req_t request, const char *bytes, size_t length)
{
	struct slow_read read = {request, bytes, length, {0, 0}};
	clock_gettime(CLOCK_MONOTONIC, &read.due);
	read.due.tv_nsec += SLOW_READ_NS;
	if (read.due.tv_nsec >= 1000000000L) {
		read.due.tv_nsec -= 1000000000L;
		read.due.tv_sec++;
	}
	pthread_mutex_lock(&slow_lock);
	if (slow_in - slow_out == SLOW_READS_MAX) {
		pthread_mutex_unlock(&slow_lock);
		fuse_reply_err(request, EAGAIN);
		return;
	}
	slow_reads[slow_in++ % SLOW_READS_MAX] = read;
	pthread_cond_signal(&slow_came);
	pthread_mutex_unlock(&slow_lock);
}

static void *slow_timer(void *unused)
{
	(void)unused;
	for (;;) {
		pthread_mutex_lock(&slow_lock);
		while (slow_in == slow_out)
			pthread_cond_wait(&slow_came, &slow_lock);
		struct slow_read read = slow_reads[slow_out++ % SLOW_READS_MAX];
		pthread_mutex_unlock(&slow_lock);
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &read.due, NULL);
		fuse_reply_buf(read.request, read.bytes, read.length);
	}
	return NULL;
}

static void on_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, struct fuse_file_info *info)
{
	(void)info;
	if (inode < FIRST_TMP) {
		size_t from = (size_t)offset < BIG_BYTES ? (size_t)offset : BIG_BYTES;
		size_t length = size < BIG_BYTES - from ? size : BIG_BYTES - from;
		if (inode == SLOW)
			slow_later(request, big + from, length);
		else
			fuse_reply_buf(request, big + from, length);
		return;
	}
	pthread_rwlock_rdlock(&tmp_lock);
	struct tmp_file *file = tmp_by_inode(inode);
	if (!file) {
		fuse_reply_err(request, ENOENT);
	} else {
		size_t from = (size_t)offset < file->length ? (size_t)offset : file->length;
		fuse_reply_buf(request, file->bytes + from, size < file->length - from ? size : file->length - from);
	}
	pthread_rwlock_unlock(&tmp_lock);
}

static void on_write(fuse_req_t request, fuse_ino_t inode, const char *data, size_t size, off_t offset,
		     struct fuse_file_info *info)
{
	int error = ENOENT;
	(void)info;
	pthread_rwlock_wrlock(&tmp_lock);
	struct tmp_file *file = inode >= FIRST_TMP ? tmp_by_inode(inode) : NULL;
	if (file) {
		error = offset + size > file->length ? tmp_resize(file, offset + size) : 0;
		if (!error)
			memcpy(file->bytes + offset, data, size);
	}
	pthread_rwlock_unlock(&tmp_lock);
	if (error)
		fuse_reply_err(request, error);
	else
		fuse_reply_write(request, size);
}

static void list(fuse_req_t request, fuse_ino_t inode, size_t size, off_t cursor, int plus)
{
	char name[64], *buffer = malloc(size);
	size_t used = 0, count = inode == ROOT ? TOP : inode == MANY ? MANY_FILES : TMP_FILES_MAX;
	if (!buffer) {
		fuse_reply_err(request, ENOMEM);
		return;
	}
	for (size_t at = cursor; at < count; at++) {
		fuse_ino_t found;
		const char *called = name;
		if (inode == ROOT) {
			found = top[at].inode;
			called = top[at].name;
		} else if (inode == MANY) {
			size_t rest = at;
			found = FIRST_MANY + at;
			memcpy(name, "file00000", 10);
			for (int digit = 8; digit >= 4; digit--, rest /= 10)
				name[digit] = '0' + rest % 10;
		} else {
			pthread_rwlock_rdlock(&tmp_lock);
			found = tmp_files[at].inode;
			strcpy(name, tmp_files[at].name);
			pthread_rwlock_unlock(&tmp_lock);
			if (!found)
				continue;
		}
		size_t needed;
		if (plus) {
			struct fuse_entry_param out;
			entry(found, &out);
			needed = fuse_add_direntry_plus(request, buffer + used, size - used, called, &out, at + 1);
		} else {
			struct stat out = {.st_ino = found};
			out.st_mode = inode == ROOT && (found == MANY || found == TMP) ? S_IFDIR : S_IFREG;
			needed = fuse_add_direntry(request, buffer + used, size - used, called, &out, at + 1);
		}
		if (needed > size - used)
			break;
		used += needed;
	}
	fuse_reply_buf(request, buffer, used);
	free(buffer);
}

static void on_readdir(fuse_req_t request, fuse_ino_t inode, size_t size, off_t cursor, struct fuse_file_info *file)
{
	(void)file;
	list(request, inode, size, cursor, 0);
}

static void on_readdirplus(fuse_req_t request, fuse_ino_t inode, size_t size, off_t cursor,
			   struct fuse_file_info *file)
{
	(void)file;
	list(request, inode, size, cursor, 1);
}

static const struct fuse_lowlevel_ops operations = {
	.init = on_init,
	.lookup = on_lookup,
	.getattr = on_getattr,
	.setattr = on_setattr,
	.open = on_open,
	.create = on_create,
	.unlink = on_unlink,
	.read = on_read,
	.write = on_write,
	.readdir = on_readdir,
	.readdirplus = on_readdirplus,
};

static int set_caching(const char *word)
{
	if (!strcmp(word, "kept"))
		names_s = attributes_s = 3600;
	else if (!strcmp(word, "brief"))
		names_s = attributes_s = 0.2, want_plus = 1;
	else if (!strcmp(word, "attr0"))
		names_s = 3600;
	else if (strcmp(word, "nothing"))
		return -1;
	return 0;
}

int main(int count, char **words)
{
	const char *variant = count > 2 ? words[2] : "clone", *caching = count > 3 ? words[3] : "kept";
	int uring = !strcmp(variant, "uring");
	if (count < 2 || set_caching(caching)) {
		fprintf(stderr, "usage: DIR [threads|clone|uring|one] [kept|brief|attr0|nothing]\n");
		return 2;
	}
	/* The same memory as all servers of the run, so they start at once. */
	const char *path = getenv("BENCH_BIG");
	int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	int flags = file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	big = mmap(NULL, BIG_BYTES, PROT_READ, flags | MAP_POPULATE, file, 0);
	if (big == MAP_FAILED)
		return perror("memory"), 1;
	for (unsigned at = 0; at < TMP_FILES_MAX; at++)
		tmp_free[tmp_free_count++] = at;
	pthread_t timer;
	if (pthread_create(&timer, NULL, slow_timer, NULL))
		return perror("timer"), 1;

	struct fuse_args arguments = FUSE_ARGS_INIT(0, NULL);
	fuse_opt_add_arg(&arguments, words[0]);
	fuse_opt_add_arg(&arguments, "-oallow_other,fsname=bench,subtype=libfuse");
	if (uring)
		fuse_opt_add_arg(&arguments, "-oio_uring,io_uring_q_depth=8");
	struct fuse_session *session = fuse_session_new(&arguments, &operations, sizeof operations, NULL);
	if (!session || fuse_set_signal_handlers(session) || fuse_session_mount(session, words[1]))
		return 1;
	printf("ready libfuse %s, %s\n", fuse_pkgversion(), variant);
	fflush(stdout);
	int error;
	if (!strcmp(variant, "one")) {
		error = fuse_session_loop(session);
	} else {
		struct fuse_loop_config *config = fuse_loop_cfg_create();
		fuse_loop_cfg_set_clone_fd(config, !strcmp(variant, "clone"));
		error = fuse_session_loop_mt(session, config);
		fuse_loop_cfg_destroy(config);
	}
	fuse_session_unmount(session);
	fuse_session_destroy(session);
	return error != 0;
}
