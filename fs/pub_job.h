/* fs/pub_job.h: one request to publish/ on its way to a worker and back.
 * Private to pub*.c. The loop makes it and answers it; a worker runs it in
 * between. */
#pragma once

#include <dirent.h>

#include "fs/pub.h"
#include "fs/publish.h"
#include "fs/publish_scan.h"

#define TIMEOUT_PUBLISH 1.0 /* s: others may change it behind our back */

struct pub {
	struct mount *m;         /* borrowed */
	struct publish *publish; /* borrowed */
	int root;                /* borrowed: publish_root() */
	bool is_read_only, is_stopping, is_name_busy;
	struct pub_tree tree;
	struct list names; /* jobs by name that wait */
	struct list turns; /* nodes whose jobs wait for a worker */
	unsigned num_data; /* jobs by bytes at a worker */
	struct list handles[HANDLE_BUCKETS];
	uint64_t next_fh;
	unsigned num_jobs; /* at a worker */
};

struct pub_handle {
	struct list in_table, in_node;
	struct pub_node *node; /* holds a reference */
	uint64_t fh;
	unsigned refs; /* jobs, and 1 until it is released */
	int fd;        /* owned */
	bool is_writer, is_direct;
	DIR *dir; /* owned, has the descriptor; of folders */
	long dir_at;
};

struct pub_job {
	struct job job;
	struct list node_link; /* in the queue */
	struct pub *p;
	fuse_req_t req;                  /* NULL: nobody is to be answered */
	void (*run)(struct pub_job *j);  /* worker */
	void (*done)(struct pub_job *j); /* loop; answers, frees nothing */
	bool is_by_name;

	struct pub_node *node, *other; /* hold references */
	char *name, *other_name; /* owned; last elements, in NODE, OTHER */
	char *path, *other_path; /* owned; of NODE and OTHER, when it runs */
	int fd; /* owned; of a NODE without a name; -1: it has one */
	struct pub_handle *handle, *from; /* hold references */

	int r;
	struct stat st; /* what there is afterwards */
	uid_t uid;      /* of who asks */
	gid_t gid;
	/* what is asked; each uses what it needs */
	mode_t mode;
	int flags, to_set;
	struct stat attr;
	off_t off, from_off;
	size_t len;
	uint8_t *bytes;      /* owned */
	const uint8_t *data; /* in bytes: what is written */
	int new_fd;          /* owned; opened, -1: not */
	DIR *new_dir;        /* owned */
	struct fuse_file_info fi;
	bool was_made;
};

static inline struct pub *pub_of(fuse_req_t req)
{
	return mount_of(req)->pub;
}

/* A job about the inode INO, or about NAME in it. NULL: REQ is answered
 * (ESTALE, EROFS if it CHANGES and nothing may change, ENAMETOOLONG). */
struct pub_job *pub_job_new(fuse_req_t req, fuse_ino_t ino, const char *name,
			    bool changes);
/* Into its queue. BY_NAME: that of all names; else that of its node. */
void pub_job_submit(struct pub_job *j, bool by_name);
/* It is answered already. */
void pub_job_drop(struct pub_job *j);

/* Where a worker finds the job's node, or NAME in it: (fd, name, flags) for the
 * *at calls. */
struct pub_at {
	int fd;
	const char *name;
	int flags; /* AT_SYMLINK_NOFOLLOW or AT_EMPTY_PATH */
	int owned; /* to be closed; -1: nothing */
};
int pub_at_node(struct pub_job *j, struct pub_at *at);
void pub_at_close(struct pub_at *at);
/* O_PATH of the folder that NODE, or OTHER, is. */
int pub_open_folder(struct pub_job *j, bool other);
/* The node itself, opened. */
int pub_open_node(struct pub_job *j, int flags);

/* What of FLAGS goes to the backing file. O_APPEND does not: the kernel says
 * where, and pages that a mapping changed come through any handle. */
int pub_open_flags(int flags);

struct pub_handle *pub_handle_new(struct pub_node *n, struct pub *p, int fd);
/* How the kernel is to treat the pages of H, opened with FLAGS; IS_SAME: the
 * file is what it was when the kernel read it. */
void pub_handle_cache(struct pub *p, struct pub_handle *h, int flags,
		      bool is_same, struct fuse_file_info *fi);
struct pub_handle *pub_handle_find(struct pub *p, uint64_t fh);
void pub_handle_unref(struct pub *p, struct pub_handle *h);
/* The kernel will not name it again. */
void pub_handle_close(struct pub *p, struct pub_handle *h);

/* ---- answers ---- */

void pub_reply_err(struct pub_job *j); /* of r, 0 too */
/* NAME in NODE is j->st: tells the kernel. */
void pub_fill_entry(struct pub_job *j, struct pub_node *n,
		    struct fuse_entry_param *e);
void pub_reply_entry(struct pub_job *j);
/* N's file is ST now. If it was changed behind our back, the kernel is to read
 * it anew. */
void pub_on_seen(struct pub *p, struct pub_node *n, const struct stat *st);
void pub_fill_attr(const struct pub_node *n, const struct stat *st,
		   struct stat *out);
