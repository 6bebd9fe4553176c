//! A table of defects, and a struct with a switch for each.

macro_rules! switches {
    ($($field:ident => $name:literal, $summary:literal, $source:literal, [$($check:literal),+];)+) => {
        /// What can be switched on.
        pub(crate) const DEFECTS: &[$crate::params::DefectInfo] = &[$(
            $crate::params::DefectInfo {
                name: $name,
                summary: $summary,
                source: $source,
                checks: &[$($check),+],
            },
        )+];

        /// The defects that are switched on.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(crate) struct Defects {
            $(pub(crate) $field: bool,)+
        }

        impl Defects {
            /// Switches one on, if there is one of this name.
            fn switch(&mut self, name: &str) -> bool {
                match name {
                    $($name => self.$field = true,)+
                    _ => return false,
                }
                true
            }
        }
    };
}

pub(crate) use switches;
