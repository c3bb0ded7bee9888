//! Batched datagrams on Linux: `recvmmsg`, `sendmmsg` and the socket options they need.
//!
//! The only file with `unsafe`, since neither std nor socket2 has these calls. Everything that the kernel writes to lives in
//! one [`Batch`], whose arrays are allocated once and never move or change size; [`Slots`] states why each access is sound.
#![allow(unsafe_code)]

use std::io;
use std::mem::{offset_of, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr::null_mut;

use libc::{
    c_int, c_uint, c_void, cmsghdr, in_pktinfo, in6_pktinfo, iovec, mmsghdr, sockaddr_in, sockaddr_in6,
    socklen_t,
};

/// Most datagrams of one system call.
pub(in crate::transport) const BATCH: usize = 64;

/// Octets kept of a datagram. EDNS here advertises 1232, so this is generous; the 64 above a page keep the slots from
/// falling into the same sets of the processor's cache.
pub(in crate::transport) const SLOT: usize = 4096 + 64;

/// Room for one control message with an `in6_pktinfo` (40 octets) or an `in_pktinfo` (32), aligned as a `cmsghdr`.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL]);
const CONTROL: usize = 40;
const CMSG_DATA: usize = size_of::<cmsghdr>().next_multiple_of(size_of::<usize>());
const _: () = assert!(
    CMSG_DATA + size_of::<in6_pktinfo>() <= CONTROL && size_of::<in_pktinfo>() <= size_of::<in6_pktinfo>()
);

/// A socket address of either family: `sockaddr_in6` is the larger.
#[repr(C)]
#[derive(Clone, Copy)]
union Name {
    v4: sockaddr_in,
    v6: sockaddr_in6,
}
const NAME: socklen_t = size_of::<Name>() as socklen_t;

/// What the system calls read and write, in arrays of [`BATCH`] elements.
struct Arrays {
    received: [mmsghdr; BATCH],
    received_parts: [iovec; BATCH],
    replies: [mmsghdr; BATCH],
    reply_parts: [iovec; BATCH],
    names: [Name; BATCH],
    controls: [Control; BATCH],
    inputs: [[u8; SLOT]; BATCH],
    outputs: [[u8; SLOT]; BATCH],
}

/// Owner of [`Arrays`] that hands out pointers into them.
///
/// The allocation is made in [`Slots::new`], freed in `drop`, and reached through this one raw pointer in between, never
/// through a `Box` or a reference that lives across a system call, so pointers stored in the headers stay valid. Indexes
/// are checked by ordinary array indexing.
struct Slots(*mut Arrays);

// SAFETY: the pointer is the only one to its allocation outside the allocation itself, so moving it moves ownership.
unsafe impl Send for Slots {}

impl Slots {
    fn new() -> Self {
        let layout = std::alloc::Layout::new::<Arrays>();
        // SAFETY: the layout is not of size zero, and all-zero octets are valid for every field of Arrays: integers, octets
        // and null pointers. (Zeroed pages are not touched until they are used; Box::new would build them on the stack.)
        let arrays = unsafe { std::alloc::alloc_zeroed(layout) }.cast::<Arrays>();
        if arrays.is_null() {
            std::alloc::handle_alloc_error(layout);
        }
        Self(arrays)
    }

    fn get_mut(&mut self) -> &mut Arrays {
        // SAFETY: allocated and initialised in `new`, freed only in `drop`. `&mut self` excludes every other reference, and the
        // kernel writes only during the calls of Batch, which hold no such reference.
        unsafe { &mut *self.0 }
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` by the global allocator with this layout; Arrays has no destructor to run.
        unsafe { std::alloc::dealloc(self.0.cast(), std::alloc::Layout::new::<Arrays>()) }
    }
}

/// A datagram received.
pub(in crate::transport) struct Datagram<'a> {
    /// Its octets, as many as fit a slot.
    pub(in crate::transport) bytes: &'a [u8],
    /// Where it came from; `None` if the kernel gave no address of the internet families.
    pub(in crate::transport) peer: Option<SocketAddr>,
    /// Whether it was longer than the slot.
    pub(in crate::transport) oversize: bool,
    /// Where a response of up to [`SLOT`] octets goes.
    pub(in crate::transport) out: &'a mut [u8],
}

/// Buffers of one socket's worker: a receive call fills them, responses are queued beside, and one send call sends them.
pub(in crate::transport) struct Batch {
    slots: Slots,
    /// Whether the kernel tells the local address of each datagram (`IP_PKTINFO`, `IPV6_RECVPKTINFO`).
    local: bool,
    /// Datagrams of the last receive call.
    filled: usize,
    /// Responses queued since.
    queued: usize,
}

impl Batch {
    /// Allocates all that will ever be needed. With `local` the socket is one of [`receive_local_address`].
    pub(in crate::transport) fn new(local: bool) -> Self {
        let mut slots = Slots::new();
        let base = slots.0;
        let arrays = slots.get_mut();
        for i in 0..BATCH {
            // SAFETY: in bounds of the allocation; only addresses are taken, from the root pointer, so that they stay valid
            // however often get_mut() borrows afterwards.
            let (name, control, input, part) = unsafe {
                (
                    &raw mut (*base).names[i],
                    &raw mut (*base).controls[i],
                    &raw mut (*base).inputs[i],
                    &raw mut (*base).received_parts[i],
                )
            };
            arrays.received_parts[i] = iovec { iov_base: input.cast(), iov_len: SLOT };
            let header = &mut arrays.received[i].msg_hdr;
            header.msg_name = name.cast();
            header.msg_namelen = NAME;
            header.msg_iov = part;
            header.msg_iovlen = 1;
            header.msg_control = if local { control.cast() } else { null_mut() };
            header.msg_controllen = if local { CONTROL as _ } else { 0 };
        }
        Self { slots, local, filled: 0, queued: 0 }
    }

    /// Waits for a datagram, then takes whatever else is there, up to `most` (at most [`BATCH`]), and forgets the batch
    /// before. With `wait` off it does not wait.
    ///
    /// # Errors
    /// Those of `recvmmsg`: `WouldBlock` after the socket's receive timeout.
    pub(in crate::transport) fn receive(
        &mut self,
        socket: &UdpSocket,
        most: usize,
        wait: bool,
    ) -> io::Result<usize> {
        let local = self.local;
        let arrays = self.slots.get_mut();
        for header in arrays.received[..self.filled].iter_mut().map(|m| &mut m.msg_hdr) {
            // The kernel wrote what it used.
            header.msg_namelen = NAME;
            header.msg_controllen = if local { CONTROL as _ } else { 0 };
        }
        self.filled = 0;
        self.queued = 0;
        let flags = if wait { libc::MSG_WAITFORONE } else { libc::MSG_DONTWAIT };
        // SAFETY: `received` are BATCH headers of which at most BATCH are used; their pointers were set in `new` to slots of
        // this allocation that hold msg_namelen, iov_len and msg_controllen octets, and nothing else refers to those slots
        // during the call, for which `&mut self` stands.
        let n = unsafe {
            let headers = (&raw mut (*self.slots.0).received).cast::<mmsghdr>();
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers,
                most.clamp(1, BATCH) as c_uint,
                flags as _,
                null_mut(),
            )
        };
        if n < 0 {
            return Err(io::Error::last_os_error());
        }
        self.filled = n as usize;
        Ok(self.filled)
    }

    /// A datagram of the last receive call, with room for its response. `i` is below what that call returned.
    #[inline]
    pub(in crate::transport) fn datagram(&mut self, i: usize) -> Datagram<'_> {
        assert!(i < self.filled);
        let arrays = self.slots.get_mut();
        let header = &arrays.received[i];
        let len = (header.msg_len as usize).min(SLOT);
        let peer = peer(&arrays.names[i], header.msg_hdr.msg_namelen);
        let oversize = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
        Datagram { bytes: &arrays.inputs[i][..len], peer, oversize, out: &mut arrays.outputs[i] }
    }

    /// Which of the machine's addresses datagram `i` of the last receive call was sent to, or for one that was sent to many, which a response
    /// comes from; as far as the kernel tells. To be asked before [`reply`](Self::reply).
    pub(in crate::transport) fn destination(&mut self, i: usize) -> Option<IpAddr> {
        assert!(i < self.filled);
        let told = self.local.then(|| self.slots.get_mut())?;
        #[allow(clippy::unnecessary_cast)] // musl's is 32 bits wide.
        destination(&told.controls[i], told.received[i].msg_hdr.msg_controllen as usize)
    }

    /// Queues the first `len` octets of the output slot of datagram `i`, to be sent to where that came from, from the
    /// address it was sent to. Each datagram is replied to at most once.
    #[inline]
    pub(in crate::transport) fn reply(&mut self, i: usize, len: usize) {
        assert!(i < self.filled && self.queued < BATCH && len <= SLOT);
        let base = self.slots.0;
        let q = self.queued;
        // SAFETY: in bounds as just checked; only addresses are taken.
        let (name, control, output, part) = unsafe {
            (
                &raw mut (*base).names[i],
                &raw mut (*base).controls[i],
                &raw mut (*base).outputs[i],
                &raw mut (*base).reply_parts[q],
            )
        };
        let local = self.local;
        let arrays = self.slots.get_mut();
        let received = arrays.received[i].msg_hdr;
        #[allow(clippy::unnecessary_cast)] // musl's is 32 bits wide.
        let told = received.msg_controllen as usize;
        let used = if local { source_from_destination(&mut arrays.controls[i], told) } else { 0 };
        arrays.reply_parts[q] = iovec { iov_base: output.cast(), iov_len: len };
        let header = &mut arrays.replies[q].msg_hdr;
        header.msg_name = name.cast();
        header.msg_namelen = received.msg_namelen;
        header.msg_iov = part;
        header.msg_iovlen = 1;
        header.msg_control = if used > 0 { control.cast() } else { null_mut() };
        header.msg_controllen = used as _;
        self.queued += 1;
    }

    /// Responses queued and not yet sent.
    pub(in crate::transport) fn queued(&self) -> usize {
        self.queued
    }

    /// Sends what is queued. A response that cannot be sent is given up, reported to `failed`, and the next one tried: every
    /// turn of the loop takes at least one off the queue. A socket that stays full gives up the rest of the batch, each
    /// reported, since each further try could wait for the send timeout again.
    pub(in crate::transport) fn send(&mut self, socket: &UdpSocket, mut failed: impl FnMut(&io::Error)) {
        let mut done = 0;
        while done < self.queued {
            // SAFETY: `done..queued` are headers that `reply` filled with pointers into this allocation; the kernel only reads
            // what they point to and writes msg_len of the header itself.
            let n = unsafe {
                let headers = (&raw mut (*self.slots.0).replies).cast::<mmsghdr>().add(done);
                libc::sendmmsg(socket.as_raw_fd(), headers, (self.queued - done) as c_uint, 0)
            };
            if n > 0 {
                done += n as usize;
                continue;
            }
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => {
                    (done..self.queued).for_each(|_| failed(&error));
                    break;
                }
                _ => {
                    failed(&error);
                    done += 1;
                }
            }
        }
        self.queued = 0;
    }
}

/// The address in a name that the kernel filled with `len` octets.
fn peer(name: &Name, len: socklen_t) -> Option<SocketAddr> {
    // SAFETY: every octet of a Name is initialised (zeroed at first) and both variants are plain integers; the family lies at
    // the same place in both.
    let (v4, v6) = unsafe { (name.v4, name.v6) };
    match c_int::from(v4.sin_family) {
        libc::AF_INET if len as usize >= size_of::<sockaddr_in>() => {
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 if len as usize >= size_of::<sockaddr_in6>() => {
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddr::V6(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), 0, v6.sin6_scope_id)))
        }
        _ => None,
    }
}

/// The address in a control message of so many octets that tells a datagram's destination.
fn destination(control: &Control, len: usize) -> Option<IpAddr> {
    let header = header(control, len)?;
    let data = &control.0[CMSG_DATA..];
    match (header.cmsg_level, header.cmsg_type) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            let address = data[offset_of!(in_pktinfo, ipi_spec_dst)..].first_chunk::<4>()?;
            Some(Ipv4Addr::from(*address).into())
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            let address = data[offset_of!(in6_pktinfo, ipi6_addr)..].first_chunk::<16>()?;
            Some(Ipv6Addr::from(*address).into())
        }
        _ => None,
    }
}

/// The head of a control message, if there is one.
fn header(control: &Control, len: usize) -> Option<cmsghdr> {
    if !(CMSG_DATA..=CONTROL).contains(&len) {
        return None;
    }
    // SAFETY: a Control is larger than a cmsghdr, aligned for it and initialised, and a cmsghdr is integers.
    Some(unsafe { control.0.as_ptr().cast::<cmsghdr>().read() })
}

/// Turns the control message that told a datagram's destination into the one that sets its response's source, in place, and
/// gives its length; 0 (the kernel chooses the source) where there was none.
///
/// IPv4: `ipi_spec_dst` already is the address to answer from, also where a broadcast was received; the interface is
/// cleared, for the routing table decides it. IPv6: the interface stays for link-local and multicast addresses alone, which
/// mean nothing without it; a multicast address cannot be a source and is cleared.
fn source_from_destination(control: &mut Control, len: usize) -> usize {
    let Some(header) = header(control, len) else { return 0 };
    let data = &mut control.0[CMSG_DATA..];
    let payload = match (header.cmsg_level, header.cmsg_type) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            data[offset_of!(in_pktinfo, ipi_ifindex)..][..size_of::<c_int>()].fill(0);
            size_of::<in_pktinfo>()
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            let address = &mut data[offset_of!(in6_pktinfo, ipi6_addr)..][..16];
            let multicast = address[0] == 0xff;
            let link_local = address[0] == 0xfe && address[1] & 0xc0 == 0x80;
            if multicast {
                address.fill(0);
            }
            if !multicast && !link_local {
                data[offset_of!(in6_pktinfo, ipi6_ifindex)..][..size_of::<c_uint>()].fill(0);
            }
            size_of::<in6_pktinfo>()
        }
        _ => return 0,
    };
    (CMSG_DATA + payload).next_multiple_of(size_of::<usize>())
}

/// Makes the kernel tell each datagram's local address, which a response from a wildcard socket must come from.
///
/// # Errors
/// Those of `setsockopt`.
pub(in crate::transport) fn receive_local_address(socket: &impl AsRawFd, v6: bool) -> io::Result<()> {
    if v6 {
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)
    } else {
        set_option(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)
    }
}

/// Keeps path MTU messages, which anybody can forge, from making responses smaller or fragmented (RFC 9715 §3.1): responses of
/// up to 1232 octets go out as they are.
///
/// # Errors
/// Those of `setsockopt`.
pub(in crate::transport) fn ignore_path_mtu(socket: &impl AsRawFd, v6: bool) -> io::Result<()> {
    if v6 {
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_OMIT)
    } else {
        set_option(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_OMIT)
    }
}

/// Asks for a receive buffer of so many octets: beyond `net.core.rmem_max` if the process may do that, else up to it. Gives how many
/// there are now.
///
/// # Errors
/// Those of `getsockopt`; less than was asked for is none.
pub(in crate::transport) fn set_receive_buffer(socket: &socket2::Socket, octets: usize) -> io::Result<usize> {
    let wanted = c_int::try_from(octets).unwrap_or(c_int::MAX);
    if set_option(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, wanted).is_err() {
        let _ = socket.set_recv_buffer_size(octets);
    }
    // Linux doubles what was asked for, for its own use, and gives the double.
    socket.recv_buffer_size().map(|octets| octets / 2)
}

/// How many datagrams the kernel has dropped at this socket since it was made, mostly for want of room; the number wraps. `None` where
/// the kernel does not tell.
pub(in crate::transport) fn drops(socket: &impl AsRawFd) -> Option<u32> {
    // linux/sock_diag.h: the values of SO_MEMINFO, of which the last one here counts drops.
    const VALUES: usize = 9;
    let mut values = [0u32; VALUES];
    let mut len = size_of_val(&values) as socklen_t;
    // SAFETY: `values` has room for `len` octets and lives across the call, which writes no more than that and sets `len` to how many.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_MEMINFO,
            values.as_mut_ptr().cast::<c_void>(),
            &raw mut len,
        )
    };
    (result == 0 && len as usize == size_of_val(&values)).then_some(values[VALUES - 1])
}

/// The same number on every architecture but SPARC and PA-RISC, where the kernel then knows no such option (asm-generic/socket.h).
const SO_MEMINFO: c_int = 55;

fn set_option(socket: &impl AsRawFd, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the value is an int that lives across the call, and its size is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast::<c_void>(),
            size_of::<c_int>() as socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A received control message of this level, type and payload, and what becomes of it.
    fn check(level: c_int, kind: c_int, payload: &[u8], expected: Option<&[u8]>) {
        let mut control = Control([0; CONTROL]);
        // All-zero octets are a valid cmsghdr: integers.
        let mut header: cmsghdr = unsafe { std::mem::zeroed() };
        header.cmsg_len = (CMSG_DATA + payload.len()) as _;
        (header.cmsg_level, header.cmsg_type) = (level, kind);
        unsafe { control.0.as_mut_ptr().cast::<cmsghdr>().write(header) };
        control.0[CMSG_DATA..][..payload.len()].copy_from_slice(payload);
        let asked = match payload.len() {
            12 => IpAddr::from([payload[4], payload[5], payload[6], payload[7]]),
            _ => IpAddr::from(*payload.first_chunk::<16>().unwrap()),
        };
        let told = destination(&control, (CMSG_DATA + payload.len()).next_multiple_of(8));
        assert_eq!(told, expected.map(|_| asked));
        let used = source_from_destination(&mut control, (CMSG_DATA + payload.len()).next_multiple_of(8));
        assert_eq!(used, expected.map_or(0, |e| (CMSG_DATA + e.len()).next_multiple_of(8)));
        if let Some(expected) = expected {
            assert_eq!(&control.0[CMSG_DATA..][..expected.len()], expected);
        }
    }

    fn v6(address: &str, interface: u32) -> Vec<u8> {
        let address: Ipv6Addr = address.parse().unwrap();
        [&address.octets()[..], &interface.to_ne_bytes()].concat()
    }

    #[test]
    fn sources_of_responses() {
        // ipi_ifindex, ipi_spec_dst, ipi_addr.
        let told = [7, 0, 0, 0, 192, 0, 2, 1, 192, 0, 2, 255];
        let set = [0, 0, 0, 0, 192, 0, 2, 1, 192, 0, 2, 255];
        check(libc::IPPROTO_IP, libc::IP_PKTINFO, &told, Some(&set));
        for (received, source, interface) in [
            ("2001:db8::1", "2001:db8::1", 0),
            ("fe80::1", "fe80::1", 7),
            ("febf::1", "febf::1", 7),
            ("fec0::1", "fec0::1", 0),
            ("ff02::1", "::", 7),
        ] {
            let expected = v6(source, interface);
            check(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &v6(received, 7), Some(&expected));
        }
        check(libc::SOL_SOCKET, libc::IP_PKTINFO, &told, None);
        let mut nothing = Control([0; CONTROL]);
        assert_eq!(source_from_destination(&mut nothing, 0), 0);
    }

    fn pair() -> (UdpSocket, UdpSocket) {
        let (a, b) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        a.connect(b.local_addr().unwrap()).unwrap();
        a.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
        (a, b)
    }

    #[test]
    fn a_response_that_cannot_be_sent_does_not_keep_the_others() {
        let (client, server) = pair();
        let mut batch = Batch::new(false);
        for octet in 1..=4 {
            client.send(&[octet]).unwrap();
        }
        assert_eq!(batch.receive(&server, BATCH, true).unwrap(), 4);
        for i in 0..4 {
            let Datagram { bytes, out, .. } = batch.datagram(i);
            out[0] = bytes[0];
            batch.reply(i, 1);
        }
        // Port 0: the kernel refuses the second with EINVAL.
        batch.slots.get_mut().names[1].v4.sin_port = 0;
        let mut failures = Vec::new();
        batch.send(&server, |e| failures.push(e.raw_os_error()));
        assert_eq!((failures, batch.queued()), (vec![Some(libc::EINVAL)], 0));
        for expected in [1, 3, 4] {
            let mut octet = [0];
            client.recv(&mut octet).unwrap();
            assert_eq!(octet[0], expected);
        }
    }

    #[test]
    fn batches_fill_and_are_used_again() {
        let (client, server) = pair();
        let mut batch = Batch::new(false);
        assert_eq!(batch.receive(&server, BATCH, false).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        for round in 0..3u8 {
            for i in 0..70 {
                client.send(&[round, i]).unwrap();
            }
            for (most, expected) in [(1, 1), (BATCH, BATCH), (1000, 5)] {
                assert_eq!(batch.receive(&server, most, true).unwrap(), expected);
                for i in 0..expected {
                    let datagram = batch.datagram(i);
                    assert_eq!((datagram.bytes[0], datagram.peer), (round, client.local_addr().ok()));
                    assert!(!datagram.oversize && datagram.out.len() == SLOT);
                }
            }
        }
    }

    #[test]
    fn a_socket_shut_down_for_reading_wakes_its_reader() {
        let (_client, server) = pair();
        let waker = server.try_clone().unwrap();
        let reader = std::thread::spawn(move || {
            let mut batch = Batch::new(false);
            let received = batch.receive(&server, BATCH, true).unwrap();
            (0..received).all(|i| batch.datagram(i).peer.is_none())
        });
        std::thread::sleep(std::time::Duration::from_millis(20));
        let _ = socket2::SockRef::from(&waker).shutdown(std::net::Shutdown::Read);
        assert!(reader.join().unwrap());
    }
}
