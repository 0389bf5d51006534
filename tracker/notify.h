/* tracker/notify.h: tells a service manager how we are, where NOTIFY_SOCKET
 * names one (sd_notify(3), without libsystemd). Any thread. */
#pragma once

/* "READY=1", "STOPPING=1", "STATUS=...", lines of them. */
void notify_manager(const char *message);
/* Before and after reading files again. */
void notify_reloading(void);
void notify_ready(void);
