//! Where frames begin and end in a stream, without looking into them or copying them.

use usurper_history::frame::{Frame, FrameError};

/// Follows a stream of frames that is handed on in pieces.
#[derive(Debug, Default)]
pub(super) struct Framing {
    /// Bytes of the frame that was begun and are yet to come.
    rest: usize,
}

impl Framing {
    /// How many of the leading bytes can be handed on as they are: all but a last header that is not
    /// whole. A frame that is handed on in part is begun, and its rest goes the same way.
    ///
    /// # Errors
    /// When the bytes are no frames.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> Result<usize, FrameError> {
        let mut at = 0;
        loop {
            let step = self.rest.min(bytes.len() - at);
            at += step;
            self.rest -= step;
            if self.rest > 0 {
                return Ok(at);
            }
            match Frame::length(&bytes[at..])? {
                Some(length) => self.rest = length,
                None => return Ok(at),
            }
        }
    }

    /// Whether no frame is begun that is not whole.
    pub(super) fn is_between(&self) -> bool {
        self.rest == 0
    }

    /// How many of the leading bytes belong to a frame that was begun.
    pub(super) fn finish(&mut self, bytes: &[u8]) -> usize {
        let step = self.rest.min(bytes.len());
        self.rest -= step;
        step
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use usurper_history::frame::{Frame, HEADER_BYTES, Kind};

    use super::Framing;

    proptest! {
        #[test]
        fn whatever_the_pieces_only_a_torn_header_stays_behind(
            bodies in proptest::collection::vec(0_usize..300, 1..6),
            piece in 1_usize..200,
        ) {
            let frame = |length| Frame { kind: Kind::Request, term: 1, index: 2, body: vec![9; length] };
            let stream: Vec<u8> = bodies.iter().flat_map(|length| frame(*length).encode()).collect();
            let (mut framing, mut buffer, mut passed) = (Framing::default(), Vec::new(), Vec::new());
            for bytes in stream.chunks(piece) {
                buffer.extend_from_slice(bytes);
                let whole = framing.pass(&buffer).unwrap();
                prop_assert!(buffer.len() - whole < HEADER_BYTES);
                passed.extend(buffer.drain(..whole));
            }
            prop_assert_eq!(passed, stream);
        }
    }

    #[test]
    fn the_rest_of_a_begun_frame_is_told_from_the_next() {
        let frame = Frame { kind: Kind::Request, term: 1, index: 2, body: vec![9; 100] }.encode();
        let mut framing = Framing::default();
        assert_eq!(framing.pass(&frame[..50]).unwrap(), 50);
        let mut following = frame[50..].to_vec();
        following.extend_from_slice(&frame);
        assert_eq!(framing.finish(&following), frame.len() - 50);
        assert_eq!(framing.finish(&following[frame.len() - 50..]), 0);
    }

    #[test]
    fn garbage_is_noticed_at_its_first_byte() {
        assert!(Framing::default().pass(b"GET /").is_err());
    }
}
