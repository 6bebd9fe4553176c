//! Base64 (RFC 4648, section 4), in which etcd's gateway writes bytes.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(super) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0_usize, |word, byte| word << 8 | usize::from(*byte));
        let word = word << (8 * (3 - group.len()));
        for place in 0..4 {
            let letter = ALPHABET[word >> (18 - 6 * place) & 63];
            text.push(if place <= group.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

/// The bytes, or nothing where it is not Base64.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for group in text.as_bytes().chunks(4) {
        let padding = group.iter().rev().take_while(|letter| **letter == b'=').count();
        if group.len() != 4 || padding > 2 {
            return None;
        }
        let mut word = 0_u32;
        for letter in &group[..4 - padding] {
            let six = ALPHABET.iter().position(|known| known == letter)?;
            word = word << 6 | u32::try_from(six).ok()?;
        }
        let word = word << (6 * padding);
        bytes.extend_from_slice(&word.to_be_bytes()[1..4 - padding]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::{decode, encode};

    #[test]
    fn the_examples_of_the_standard() {
        let examples =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (bytes, text) in examples {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text).as_deref(), Some(bytes.as_bytes()));
        }
        assert_eq!(decode("Zg="), None);
        assert_eq!(decode("Z?=="), None);
        assert_eq!(decode("===="), None);
    }
}
