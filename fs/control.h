/* fs/control.h: the socket DIR/control.sock (0600) through which weirctl talks
 * to a running mount. A line in is a JSON object, a line out its answer, in
 * order:
 *
 *   {"cmd":"add","source":TEXT}
 * {"ok":true,"name":..,"infohash":..}
 *   {"cmd":"rm","torrent":T,"delete_data":B}	{"ok":true}
 *   {"cmd":"ls"}				{"ok":true,"torrents":[..]}
 *   {"cmd":"status"[,"torrent":T]}		{"ok":true,"status":{..}}
 *   {"cmd":"peers","torrent":T}		{"ok":true,"peers":[..]}
 *   anything else				{"ok":false,"error":TEXT}
 *
 * T is a name or at least eight digits of an infohash. Loop thread only. */
#pragma once

#include "fs/session.h"

struct control;

/* Whoever holds the state's lock owns the socket; a stale one is replaced.
 * Returns 0 or -errno. */
int control_open(struct session *s, struct control **out);
void control_close(struct control *c); /* harmless on NULL */

/* Fills ADDR for the socket in DIR, however long DIR is: then through a
 * descriptor that stays open until *dir_fd is closed by the caller. -errno. */
struct sockaddr_un;
int control_address(const char *dir, struct sockaddr_un *addr, int *dir_fd);
