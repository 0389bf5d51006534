/* Notifications wait for the kernel's locks, which a process may hold while it
 * waits for an answer of ours: so never on the loop. One thread sends them in
 * order; mount_stop waits until the last is out, while the loop still answers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs/mount_private.h"

#define NOTES_MAX 4096 /* more are dropped: timeouts do the rest */

struct note {
	struct job job;
	struct mount *m;
	uint64_t parent, child; /* PARENT 0: CHILD's pages */
	char name[NODE_NAME_SIZE];
};

static void note_run(struct job *job)
{
	struct note *n = container_of(job, struct note, job);
	size_t len = strlen(n->name);

	/* The kernel may never have heard of it: any result is fine. */
	if (!n->parent)
		(void)fuse_lowlevel_notify_inval_inode(n->m->se, n->child, 0,
						       0);
	else if (n->child)
		(void)fuse_lowlevel_notify_delete(n->m->se, n->parent, n->child,
						  n->name, len);
	else
		(void)fuse_lowlevel_notify_inval_entry(n->m->se, n->parent,
						       n->name, len);
}

static void note_done(struct job *job)
{
	struct note *n = container_of(job, struct note, job);
	struct mount *m = n->m;

	free(n);
	if (!--m->num_notes)
		mount_on_notes_out(m);
}

void notify_entry(struct mount *m, uint64_t parent, uint64_t child,
		  const char *name)
{
	struct note *n;

	if (m->is_stopping || !m->is_mounted || m->num_notes >= NOTES_MAX)
		return;
	n = mem_alloc(sizeof(*n));
	n->m = m;
	n->parent = parent;
	n->child = child;
	snprintf(n->name, sizeof(n->name), "%s", name);
	n->job.run = note_run;
	n->job.done = note_done;
	m->num_notes++;
	worker_submit(m->s->workers, LANE_NOTIFY, &n->job);
}

void notify_inode(struct mount *m, uint64_t ino)
{
	notify_entry(m, 0, ino, "");
}
