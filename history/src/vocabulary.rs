//! One table, from which an event enum, its reader, its writer and its list of names are made.
//!
//! The records are flat JSON objects (`{"event":"vote-cast","candidate":"n3",…}`), so that a person
//! can search a history with grep or jq. serde's tagged and flattened enums would buffer every line
//! twice and lose unknown fields; this table does neither.

use std::borrow::Cow;

use serde::{Serialize, de::DeserializeOwned, ser::SerializeMap};
use serde_json::{Map, Value};

use crate::{
    fields::{Fields, plain},
    number,
    record::ParseError,
};

/// A value that can stand in a field of an event. An absent one is not written at all.
pub(crate) trait Field: Serialize + DeserializeOwned {
    fn is_absent(&self) -> bool {
        false
    }

    /// The value of a JSON text, where that is easily told. `None` leaves it to the JSON parser.
    fn quick(_text: &str) -> Option<Self> {
        None
    }

    /// Whether the value says all that its JSON text says.
    fn is_exact(_text: &str) -> bool {
        true
    }
}

macro_rules! plain_fields {
    ($($type:ty),* $(,)?) => { $(impl crate::vocabulary::Field for $type {})* };
}
pub(crate) use plain_fields;

plain_fields!(i32, Vec<String>, Map<String, Value>);

impl Field for Value {
    fn is_exact(text: &str) -> bool {
        number::all_are_exact(text)
    }
}

/// Fields whose text in JSON is that in Rust.
macro_rules! parsed_fields {
    ($($type:ty),*) => {
        $(impl Field for $type {
            fn quick(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        })*
    };
}

parsed_fields!(bool, u32, u64);

impl Field for String {
    fn quick(text: &str) -> Option<Self> {
        plain(text).map(str::to_owned)
    }
}

impl<T: Field> Field for Option<T> {
    fn is_absent(&self) -> bool {
        self.is_none()
    }

    fn quick(text: &str) -> Option<Self> {
        if text == NULL { Some(None) } else { T::quick(text).map(Some) }
    }

    fn is_exact(text: &str) -> bool {
        T::is_exact(text)
    }
}

const NULL: &str = "null";

/// Writes one field, unless it is absent.
pub(crate) fn put<M: SerializeMap, T: Field>(
    map: &mut M,
    key: &str,
    field: &T,
) -> Result<(), M::Error> {
    if field.is_absent() { Ok(()) } else { map.serialize_entry(key, field) }
}

/// Takes one field out of a line.
pub(crate) fn take<T: Field>(
    fields: &mut Fields<'_>,
    of: &str,
    key: &str,
) -> Result<T, ParseError> {
    let found = fields.remove(key);
    // Only an optional field can be made from nothing.
    let text = found.unwrap_or(NULL);
    if let Some(value) = T::quick(text) {
        return Ok(value);
    }
    let value = serde_json::from_str(text).map_err(|source| wrong(of, key, found, source))?;
    match T::is_exact(text) {
        true => Ok(value),
        false => Err(ParseError::Inexact { of: of.to_owned(), key: key.to_owned() }),
    }
}

/// Takes a name out of a line, borrowed from it unless it holds an escape.
pub(crate) fn take_name<'a>(
    fields: &mut Fields<'a>,
    of: &str,
    key: &str,
) -> Result<Cow<'a, str>, ParseError> {
    let found = fields.remove(key);
    if let Some(name) = found.and_then(plain) {
        return Ok(Cow::Borrowed(name));
    }
    let name = serde_json::from_str(found.unwrap_or(NULL)).map(Cow::Owned);
    name.map_err(|source| wrong(of, key, found, source))
}

fn wrong(of: &str, key: &str, found: Option<&str>, source: serde_json::Error) -> ParseError {
    let (of, key) = (of.to_owned(), key.to_owned());
    match found {
        Some(_) => ParseError::Field { of, key, source },
        None => ParseError::Missing { of, key },
    }
}

macro_rules! vocabulary {
    (
        $(#[doc = $enum_doc:literal])*
        $enum_name:ident {
            $(
                $(#[doc = $doc:literal])*
                $name:literal => $variant:ident {
                    $( $(#[doc = $field_doc:literal])* $key:literal => $field:ident: $type:ty ),*
                    $(,)?
                }
            )*
        }
    ) => {
        $(#[doc = $enum_doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $enum_name {
            $( $(#[doc = $doc])* $variant { $( $(#[doc = $field_doc])* $field: $type ),* } ),*
        }

        impl $enum_name {
            /// Every name, in the catalogue's order.
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            /// The name that stands in the `event` field.
            pub fn name(&self) -> &'static str {
                match self { $( Self::$variant { .. } => $name ),* }
            }

            /// The fields that an event of this name can have, or `None` for an unknown name.
            pub fn fields_of(name: &str) -> Option<&'static [&'static str]> {
                match name {
                    $( $name => Some(&[$($key),*]), )*
                    _ => None,
                }
            }

            /// What an event of this name says, or `None` for an unknown name.
            pub fn summary_of(name: &str) -> Option<&'static str> {
                match name {
                    $( $name => Some(concat!($($doc),*).trim_ascii()), )*
                    _ => None,
                }
            }

            /// What its fields say, each by its key; many keys say enough by themselves.
            pub fn field_summaries_of(name: &str) -> Vec<(&'static str, &'static str)> {
                match name {
                    $( $name => vec![$( ($key, concat!($($field_doc),*).trim_ascii()) ),*], )*
                    _ => Vec::new(),
                }
            }

            /// One event of any name, with any values.
            #[cfg(test)]
            pub(crate) fn sample(random: &mut crate::sample::Random) -> Self {
                let makers: &[fn(&mut crate::sample::Random) -> Self] = &[
                    $( |random| Self::$variant {
                        $( $field: crate::sample::Sample::sample(random) ),*
                    } ),*
                ];
                makers[random.below(makers.len())](random)
            }

            pub(crate) fn write_fields<M: serde::ser::SerializeMap>(
                &self,
                map: &mut M,
            ) -> Result<(), M::Error> {
                match self {
                    $( Self::$variant { $($field),* } => {
                        $( crate::vocabulary::put(map, $key, $field)?; )*
                        Ok(())
                    } )*
                }
            }

            pub(crate) fn take(
                name: &str,
                fields: &mut crate::fields::Fields<'_>,
            ) -> Result<Self, crate::record::ParseError> {
                match name {
                    $( $name => Ok(Self::$variant {
                        $( $field: crate::vocabulary::take(fields, name, $key)? ),*
                    }), )*
                    other => Err(crate::record::ParseError::UnknownEvent(other.to_owned())),
                }
            }
        }
    };
}
pub(crate) use vocabulary;
