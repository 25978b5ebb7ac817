#include "CLinux.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/icmp6.h>
#include <netinet/if_ether.h>
#include <netinet/in.h>
#include <netinet/ip6.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

int holdfast_netlink(void) {
  int number = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  if (number < 0) return -1;
  // The kernel answers at once; a socket that does not is as good as none.
  struct timeval patience = {.tv_usec = 200000};
  setsockopt(number, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  return number;
}

int holdfast_change_address(
    int number, int is_wanted, int is_free, int family, const void *address, int prefix,
    unsigned device) {
  const int bytes = family == AF_INET ? 4 : 16;
  struct {
    struct nlmsghdr head;
    struct ifaddrmsg body;
    char attributes[64];
  } request = {
      .head = {
          .nlmsg_len = NLMSG_LENGTH(sizeof(struct ifaddrmsg)),
          .nlmsg_type = is_wanted ? RTM_NEWADDR : RTM_DELADDR,
          .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | (is_wanted ? NLM_F_CREATE | NLM_F_REPLACE : 0),
          .nlmsg_seq = 1,
      },
      .body = {
          .ifa_family = (unsigned char)family,
          .ifa_prefixlen = (unsigned char)prefix,
          // What was asked for before the kernel need not, for a second in which it is of no use.
          .ifa_flags = family == AF_INET6 && is_free ? IFA_F_NODAD : 0,
          .ifa_index = device,
      },
  };
  for (int type = IFA_ADDRESS; type <= IFA_LOCAL; type++) {
    struct rtattr *attribute =
        (struct rtattr *)((char *)&request + NLMSG_ALIGN(request.head.nlmsg_len));
    attribute->rta_type = (unsigned short)type;
    attribute->rta_len = (unsigned short)RTA_LENGTH(bytes);
    memcpy(RTA_DATA(attribute), address, (size_t)bytes);
    request.head.nlmsg_len = NLMSG_ALIGN(request.head.nlmsg_len) + RTA_ALIGN(attribute->rta_len);
  }
  // Answers to what was given up on before mean nothing.
  char answer[512];
  while (recv(number, answer, sizeof answer, MSG_DONTWAIT) > 0) {}
  if (send(number, &request, request.head.nlmsg_len, 0) < 0) return errno;
  ssize_t count = recv(number, answer, sizeof answer, 0);
  if (count < 0) return errno;
  const struct nlmsghdr *head = (const struct nlmsghdr *)answer;
  if (!NLMSG_OK(head, (size_t)count) || head->nlmsg_type != NLMSG_ERROR) return EPROTO;
  return -((const struct nlmsgerr *)NLMSG_DATA(head))->error;
}

static int hardware_address(int number, const char *device, unsigned char *address) {
  struct ifreq request = {0};
  strncpy(request.ifr_name, device, IFNAMSIZ - 1);
  if (ioctl(number, SIOCGIFHWADDR, &request) != 0) return errno;
  memcpy(address, request.ifr_hwaddr.sa_data, ETH_ALEN);
  return 0;
}

/// An ARP request for `wanted`, from `sender` (RFC 826).
static int send_arp(
    int number, unsigned device, const unsigned char *hardware, const void *sender,
    const void *wanted) {
  struct ether_arp packet = {
      .ea_hdr = {
          .ar_hrd = htons(ARPHRD_ETHER), .ar_pro = htons(ETHERTYPE_IP), .ar_hln = ETH_ALEN,
          .ar_pln = 4, .ar_op = htons(ARPOP_REQUEST),
      },
  };
  memcpy(packet.arp_sha, hardware, ETH_ALEN);
  memcpy(packet.arp_spa, sender, 4);
  memcpy(packet.arp_tpa, wanted, 4);
  struct sockaddr_ll all = {
      .sll_family = AF_PACKET, .sll_protocol = htons(ETHERTYPE_ARP), .sll_ifindex = (int)device,
      .sll_halen = ETH_ALEN,
  };
  memset(all.sll_addr, 0xff, ETH_ALEN);
  return sendto(number, &packet, sizeof packet, 0, (struct sockaddr *)&all, sizeof all) < 0
      ? errno : 0;
}

static int packet_socket(unsigned device, unsigned short protocol) {
  int number = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, htons(protocol));
  if (number < 0) return -1;
  struct sockaddr_ll here = {
      .sll_family = AF_PACKET, .sll_protocol = htons(protocol), .sll_ifindex = (int)device,
  };
  if (bind(number, (struct sockaddr *)&here, sizeof here) == 0) return number;
  close(number);
  return -1;
}

static long now_millis(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/// Whether there is something to receive before `end`.
static int is_heard(int number, long end) {
  const long left = end - now_millis();
  struct pollfd waited = {.fd = number, .events = POLLIN};
  return left > 0 && poll(&waited, 1, (int)left) > 0;
}

int holdfast_arp_probe(const char *device, const void *address, int milliseconds) {
  const unsigned index = if_nametoindex(device);
  if (index == 0) return -errno;
  int number = packet_socket(index, ETHERTYPE_ARP);
  if (number < 0) return -errno;
  unsigned char own[ETH_ALEN];
  int error = hardware_address(number, device, own);
  const unsigned char nobody[4] = {0};
  if (error == 0) error = send_arp(number, index, own, nobody, address);
  const long end = now_millis() + milliseconds;
  int found = 0;
  while (error == 0 && !found && is_heard(number, end)) {
    struct ether_arp packet;
    if (recv(number, &packet, sizeof packet, 0) < (ssize_t)sizeof packet) continue;
    found = memcmp(packet.arp_spa, address, 4) == 0 && memcmp(packet.arp_sha, own, ETH_ALEN) != 0;
  }
  close(number);
  return error ? -error : found;
}

/// Of ICMPv6 (RFC 4443, section 2.3): over a header made up of both addresses, length and protocol.
static unsigned short checksum6(const struct ip6_hdr *head, const void *body, unsigned length) {
  unsigned sum = length + IPPROTO_ICMPV6;
  const unsigned char *parts[] = {(const unsigned char *)&head->ip6_src, body};
  const unsigned sizes[] = {32, length};
  for (int part = 0; part < 2; part++) {
    for (unsigned at = 0; at < sizes[part]; at++) {
      sum += at % 2 ? parts[part][at] : parts[part][at] << 8;
    }
  }
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return htons((unsigned short)~sum);
}

/// A neighbor solicitation from nobody, to those who may have the address.
static int solicit(int number, unsigned device, const unsigned char *address) {
  struct {
    struct ip6_hdr head;
    struct nd_neighbor_solicit body;
  } packet = {0};
  packet.head.ip6_vfc = 6 << 4;
  packet.head.ip6_plen = htons(sizeof packet.body);
  packet.head.ip6_nxt = IPPROTO_ICMPV6;
  packet.head.ip6_hlim = 255;
  // The group of all whose addresses end so (RFC 4291, section 2.7.1).
  inet_pton(AF_INET6, "ff02::1:ff00:0", &packet.head.ip6_dst);
  memcpy(packet.head.ip6_dst.s6_addr + 13, address + 13, 3);
  packet.body.nd_ns_type = ND_NEIGHBOR_SOLICIT;
  memcpy(&packet.body.nd_ns_target, address, 16);
  packet.body.nd_ns_cksum = checksum6(&packet.head, &packet.body, sizeof packet.body);
  struct sockaddr_ll group = {
      .sll_family = AF_PACKET, .sll_protocol = htons(ETHERTYPE_IPV6), .sll_ifindex = (int)device,
      .sll_halen = ETH_ALEN, .sll_addr = {0x33, 0x33},
  };
  memcpy(group.sll_addr + 2, packet.head.ip6_dst.s6_addr + 12, 4);
  return sendto(number, &packet, sizeof packet, 0, (struct sockaddr *)&group, sizeof group) < 0
      ? errno : 0;
}

int holdfast_neighbor_probe(const char *device, const void *address, int milliseconds) {
  const unsigned index = if_nametoindex(device);
  if (index == 0) return -errno;
  int number = packet_socket(index, ETHERTYPE_IPV6);
  if (number < 0) return -errno;
  int error = solicit(number, index, address);
  const long end = now_millis() + milliseconds;
  int found = 0;
  while (error == 0 && !found && is_heard(number, end)) {
    struct {
      struct ip6_hdr head;
      struct nd_neighbor_advert body;
    } packet;
    struct sockaddr_ll sender;
    socklen_t size = sizeof sender;
    ssize_t count =
        recvfrom(number, &packet, sizeof packet, 0, (struct sockaddr *)&sender, &size);
    if (count < (ssize_t)sizeof packet || sender.sll_pkttype == PACKET_OUTGOING) continue;
    // From this link (RFC 4861, section 7.1.2).
    found = packet.head.ip6_hlim == 255 && packet.head.ip6_nxt == IPPROTO_ICMPV6
        && packet.body.nd_na_type == ND_NEIGHBOR_ADVERT
        && memcmp(&packet.body.nd_na_target, address, 16) == 0;
  }
  close(number);
  return error ? -error : found;
}

int holdfast_announce4(const char *device, const void *address) {
  const unsigned index = if_nametoindex(device);
  if (index == 0) return errno;
  int number = packet_socket(index, ETHERTYPE_ARP);
  if (number < 0) return errno;
  unsigned char own[ETH_ALEN];
  int error = hardware_address(number, device, own);
  // An announcement is a request for one's own address (RFC 5227, section 3).
  if (error == 0) error = send_arp(number, index, own, address, address);
  close(number);
  return error;
}

int holdfast_announce6(const char *device, const void *address) {
  int number = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMPV6);
  if (number < 0) return errno;
  struct {
    struct nd_neighbor_advert advert;
    unsigned char option[2];
    unsigned char hardware[ETH_ALEN];
  } packet = {.option = {ND_OPT_TARGET_LINKADDR, 1}};
  packet.advert.nd_na_type = ND_NEIGHBOR_ADVERT;
  packet.advert.nd_na_flags_reserved = ND_NA_FLAG_OVERRIDE;
  memcpy(&packet.advert.nd_na_target, address, 16);
  int error = hardware_address(number, device, packet.hardware);
  // Others are thrown away (RFC 4861, section 7.1.2).
  const int hops = 255;
  setsockopt(number, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops, sizeof hops);
  struct sockaddr_in6 all = {.sin6_family = AF_INET6, .sin6_scope_id = if_nametoindex(device)};
  inet_pton(AF_INET6, "ff02::1", &all.sin6_addr);
  if (error == 0
      && sendto(number, &packet, sizeof packet, 0, (struct sockaddr *)&all, sizeof all) < 0) {
    error = errno;
  }
  close(number);
  return error;
}
