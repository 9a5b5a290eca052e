/* The socket's address, also when its path is longer than sun_path (108 bytes, unix(7)). */
#ifndef TR_CONTROL_ADDRESS_H
#define TR_CONTROL_ADDRESS_H

#include <sys/socket.h>
#include <sys/un.h>

struct tr_control_address {
    struct sockaddr_un name;
    socklen_t len;
    int dir_fd; /* keeps the folder open while the address is used; -1 none */
};
/* 0 or an errno value. */
int tr_control_address_open(const char *state_dir, struct tr_control_address *address);
void tr_control_address_close(struct tr_control_address *address);

#endif
