//! Numbers that are kept as they were written.
//!
//! A number that no 64-bit integer holds is read as a floating-point one, and two different ones of many
//! digits become the same: a client that read another value than was written would have read the right one.

/// As many significant digits tell all floating-point numbers apart (IEEE 754, 5.12.2: for binary64).
const DIGITS_MAX: usize = 17;

/// Whether a number in decimal notation is read as what it says.
pub fn is_exact(number: &str) -> bool {
    if number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok() {
        return true;
    }
    let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').len() <= DIGITS_MAX
}

/// Whether this is so of every number in a JSON text.
pub(crate) fn all_are_exact(json: &str) -> bool {
    let is_of_number =
        |byte: u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
    let bytes = json.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let rest = &bytes[at + 1..];
        at += 1;
        match byte {
            b'"' => {
                let mut escaped = false;
                let ends = |byte: &u8| {
                    let ends = *byte == b'"' && !escaped;
                    escaped = *byte == b'\\' && !escaped;
                    ends
                };
                at += rest.iter().position(ends).map_or(rest.len(), |end| end + 1);
            }
            b'-' | b'0'..=b'9' => {
                let more = rest.iter().position(|byte| !is_of_number(*byte));
                let end = at + more.unwrap_or(rest.len());
                if !is_exact(&json[at - 1..end]) {
                    return false;
                }
                at = end;
            }
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::all_are_exact;

    #[test]
    fn a_number_of_too_many_digits_is_seen_wherever_it_stands() {
        let right = [
            "18446744073709551615",
            "-9223372036854775808",
            "1.5",
            "-0.0",
            "1e300",
            "100000000000000000000000",
            "0.00000000000000000000000001",
            "12345678901234567e3",
            r#""123456789012345678901234567890""#,
            r#"["\\\"12345678901234567890123", 1, true, null]"#,
            r#"{"12345678901234567890123": 1}"#,
        ];
        for text in right {
            assert!(all_are_exact(text), "{text}");
        }
        let wrong = [
            "123456789012345678901234567890",
            "-123456789012345678901234567890",
            "18446744073709551617",
            "1.000000000000000000001",
            "123456789012345678e3",
            r#"["\\", 12345678901234567890123]"#,
            r#"{"a\"": [12345678901234567890123]}"#,
        ];
        for text in wrong {
            assert!(!all_are_exact(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_was_a_number_of_this_machine_is_exact(float: f64, int: i64, natural: u64) {
            prop_assert!(all_are_exact(&json!([float, int, natural]).to_string()));
        }
    }
}
