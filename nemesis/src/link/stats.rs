//! What a link has done to its traffic.

use std::fmt;

macro_rules! stats {
    ($( $(#[$doc:meta])* $name:ident $text:literal )*) => {
        /// What a directed link did to its traffic, since it was last healed.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct LinkStats { $( $(#[$doc])* pub $name: u64 ),* }

        impl LinkStats {
            /// The figures that are not 0, each with what it counts.
            fn figures(&self) -> Vec<String> {
                let mut figures = Vec::new();
                $( if self.$name > 0 { figures.push(format!("{} {}", self.$name, $text)); } )*
                figures
            }

            /// Adds another link's figures.
            pub fn add(&mut self, other: &Self) {
                $( self.$name += other.$name; )*
            }
        }
    };
}

stats! {
    /// Frames that a cut or a blackhole swallowed.
    dropped "dropped"
    /// Frames that a loss swallowed.
    lost "lost"
    /// Frames that were held, whatever became of them.
    held "held"
    /// Held frames that were delivered in the end.
    released "released"
    /// Frames that a full hold could not take; they are gone.
    overflowed "dropped by a full hold"
    /// Frames or chunks of bytes that were made late.
    delayed "delayed"
    /// Frames or chunks that had to wait for a throttle.
    throttled "throttled"
    /// Frames that were sent a second time.
    duplicated "duplicated"
    /// Frames that a later one was made to overtake.
    reordered "reordered"
    /// Frames or chunks of which a byte was flipped.
    corrupted "corrupted"
    /// Frames that waited for a connection that has ended.
    orphaned "gone with their connection"
    /// New connections refused.
    refused "connections refused"
    /// New connections left without an answer.
    unanswered "connections unanswered"
    /// Connections reset.
    reset "connections reset"
}

impl LinkStats {
    pub fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for LinkStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figures = self.figures();
        f.write_str(&if figures.is_empty() { "nothing".to_owned() } else { figures.join(", ") })
    }
}
