/* A long path is reached through /proc/self/fd/N/control.sock, where N is the open folder: no
 * chdir, which would move every thread. */
#include "control/address.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include "control/control.h"

int tr_control_address_open(const char *state_dir, struct tr_control_address *address)
{
    *address = (struct tr_control_address){.dir_fd = -1};
    address->name.sun_family = AF_UNIX;
    char *path = address->name.sun_path;
    size_t path_size = sizeof address->name.sun_path;
    int len = snprintf(path, path_size, "%s/%s", state_dir, TR_CONTROL_SOCKET_NAME);
    if (len < 0)
        return EINVAL;
    if ((size_t)len >= path_size) {
        address->dir_fd = open(state_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (address->dir_fd < 0)
            return errno;
        len = snprintf(path, path_size, "/proc/self/fd/%d/%s", address->dir_fd,
                       TR_CONTROL_SOCKET_NAME);
        char folder[64];
        (void)snprintf(folder, sizeof folder, "/proc/self/fd/%d/.", address->dir_fd);
        if (access(folder, F_OK) != 0) { /* no /proc here */
            tr_control_address_close(address);
            return ENAMETOOLONG;
        }
    }
    address->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len + 1);
    return 0;
}

void tr_control_address_close(struct tr_control_address *address)
{
    if (address->dir_fd >= 0)
        (void)close(address->dir_fd);
    address->dir_fd = -1;
}
