//! The sockets and pipes between Tikkun and its Python processes.
//!
//! Every descriptor is made close-on-exec, so no other process that Tikkun starts inherits one.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream as StdStream;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::net::unix::pipe;

/// A pair of connected sockets: ours, ready for tokio, and the other process's.
pub(super) fn socket_pair() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = StdStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((UnixStream::from_std(ours)?, theirs.into()))
}

/// A pipe that the other process writes to: our end, ready for tokio, and its end.
pub(super) fn output_pipe() -> io::Result<(pipe::Receiver, OwnedFd)> {
    let (ours, theirs) = io::pipe()?;
    Ok((pipe::Receiver::from_owned_fd(ours.into())?, theirs.into()))
}

/// How many descriptors travel with one frame.
pub(super) const TRAVELLERS: usize = 3;

/// Sends `bytes`, and `descriptors` with the first of them.
///
/// Not cancel safe: part of the frame may have been sent.
pub(super) async fn send_with(
    socket: &UnixStream,
    bytes: &[u8],
    descriptors: &[OwnedFd; TRAVELLERS],
) -> io::Result<()> {
    let borrowed: [BorrowedFd<'_>; TRAVELLERS] = descriptors.each_ref().map(AsFd::as_fd);
    let mut sent = socket
        .async_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(TRAVELLERS))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !ancillary.push(SendAncillaryMessage::ScmRights(&borrowed)) {
                return Err(io::Error::other("no room for the descriptors of a child"));
            }
            Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::empty())?)
        })
        .await?;
    while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
        socket.writable().await?;
        match socket.try_write(rest) {
            Ok(more) => sent += more,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    use std::io::{IoSliceMut, Write};
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn descriptors_travel_with_the_first_byte() {
        let (ours, theirs) = socket_pair().unwrap();
        let (mut first, end) = output_pipe().unwrap();
        let (_second, other) = output_pipe().unwrap();
        let (_third, last) = output_pipe().unwrap();
        send_with(&ours, b"frame", &[end, other, last]).await.unwrap();

        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(TRAVELLERS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut bytes = [0; 16];
        let read =
            recvmsg(&theirs, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)
                .unwrap();
        assert_eq!(&bytes[..read.bytes], b"frame");
        let received: Vec<OwnedFd> = ancillary
            .drain()
            .flat_map(|message| match message {
                RecvAncillaryMessage::ScmRights(descriptors) => descriptors.collect(),
                _ => Vec::new(),
            })
            .collect();
        assert_eq!(received.len(), TRAVELLERS);
        let mut writer = std::fs::File::from(received.into_iter().next().unwrap());
        writer.write_all(b"through").unwrap();
        drop(writer);
        let mut text = String::new();
        first.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "through");
    }
}
