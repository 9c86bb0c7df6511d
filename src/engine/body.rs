//! Bodies of requests: none, or bytes that another thread hands over.
//!
//! A body that is handed over ends well only when [`Piece::End`] says so. Whatever else ends it
//! breaks the request off, so that an engine never takes a part for the whole.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::sync::mpsc::Receiver;

/// A part of a body on its way.
pub(super) enum Piece {
    Bytes(Bytes),
    End,
}

/// What a request carries.
pub(super) enum Outgoing {
    Nothing,
    Pieces(Receiver<Piece>),
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Self::Pieces(receiver) = &mut *self else {
            return Poll::Ready(None);
        };
        match ready!(receiver.poll_recv(context)) {
            Some(Piece::Bytes(bytes)) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Some(Piece::End) => {
                *self = Self::Nothing;
                Poll::Ready(None)
            }
            None => Poll::Ready(Some(Err(io::Error::other("what was to be sent breaks off")))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Nothing)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Nothing => SizeHint::with_exact(0),
            Self::Pieces(_) => SizeHint::default(),
        }
    }
}
