//! The operations of an EDN file, one at a time: a line each, or spread over many, one after another
//! or within one list.

use usurper_history::LINE_BYTES_MAX;

use super::{
    edn::Edn,
    input::{Line, Lines},
    problem::{FormatError, Problem},
};

const OPERATION: &str =
    "an operation as a map: `{:process 0, :type :invoke, :f :read, :value nil}`";

/// Cuts an EDN file into its outermost maps.
pub(super) struct Forms<'a> {
    pub(super) lines: Lines<'a>,
    line: Option<(Line, usize)>,
    /// Where the list of operations began, if the file is one and it has not ended.
    listed: Option<u64>,
}

/// Where a scan of the bytes of one value is.
#[derive(Debug, Default)]
struct Scan {
    depth: usize,
    in_text: bool,
    in_comment: bool,
    escaped: bool,
}

impl Scan {
    /// Takes one byte in; says whether it ends the value.
    fn byte(&mut self, byte: u8) -> bool {
        if std::mem::take(&mut self.escaped) || self.in_comment {
            return false;
        }
        match byte {
            b'\\' => self.escaped = true,
            b'"' => self.in_text = !self.in_text,
            _ if self.in_text => {}
            b';' => self.in_comment = true,
            b'{' | b'[' | b'(' => self.depth += 1,
            b'}' | b']' | b')' => {
                self.depth = self.depth.saturating_sub(1);
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

impl<'a> Forms<'a> {
    pub(super) fn new(lines: Lines<'a>) -> Self {
        Self { lines, line: None, listed: None }
    }

    /// The next operation and the line that it begins on.
    pub(super) fn next_form(&mut self) -> Result<Option<(u64, Edn)>, FormatError> {
        while let Some((begin, bytes)) = self.next_bytes()? {
            match String::from_utf8(bytes) {
                Err(_) => self.lines.bad(begin, Problem::NotUtf8)?,
                Ok(text) => match Edn::parse(&text) {
                    Some(edn) => return Ok(Some((begin, edn))),
                    None => self.lines.bad(begin, Problem::malformed(&text, OPERATION))?,
                },
            }
        }
        Ok(None)
    }

    fn refill(&mut self) -> Result<bool, FormatError> {
        self.line = self.lines.next_line()?.map(|line| (line, 0));
        Ok(self.line.is_some())
    }

    /// The bytes of the next outermost map, with its tag.
    fn next_bytes(&mut self) -> Result<Option<(u64, Vec<u8>)>, FormatError> {
        loop {
            if self.line.is_none() && !self.refill()? {
                if let Some(begin) = self.listed.take() {
                    self.lines.bad(begin, Problem::Truncated { what: "list" })?;
                }
                return Ok(None);
            }
            let Some((line, place)) = &mut self.line else { return Ok(None) };
            let (number, rest) = (line.number, &line.bytes[*place..]);
            let Some(first) = rest.iter().position(|byte| !b" \t,".contains(byte)) else {
                self.line = None;
                continue;
            };
            *place += first;
            match rest[first] {
                b';' => self.line = None,
                b'[' | b'(' if self.listed.is_none() => {
                    self.listed = Some(number);
                    *place += 1;
                }
                b']' | b')' if self.listed.is_some() => {
                    self.listed = None;
                    *place += 1;
                }
                b'{' | b'#' => {
                    if let Some(form) = self.collect(number)? {
                        return Ok(Some((number, form)));
                    }
                }
                _ => {
                    let text = String::from_utf8_lossy(&line.bytes[*place..]).into_owned();
                    self.line = None;
                    self.lines.bad(number, Problem::malformed(&text, OPERATION))?;
                }
            }
        }
    }

    /// Collects a map that begins at the current place.
    fn collect(&mut self, begin: u64) -> Result<Option<Vec<u8>>, FormatError> {
        let mut scan = Scan::default();
        let mut form = Vec::new();
        loop {
            let Some((line, place)) = &mut self.line else { return Ok(None) };
            // Nobody indents an operation; one that begins a line is a new one.
            if line.number > begin && line.bytes.starts_with(b"{") {
                let next = line.number;
                self.lines.bad(begin, Problem::Interleaved { next })?;
                return Ok(None);
            }
            let rest = &line.bytes[*place..];
            if let Some(end) = rest.iter().position(|byte| scan.byte(*byte)) {
                form.extend_from_slice(&rest[..=end]);
                *place += end + 1;
                return Ok(Some(form));
            }
            form.extend_from_slice(rest);
            form.push(b'\n');
            scan.in_comment = false;
            scan.escaped = false;
            if form.len() as u64 > LINE_BYTES_MAX {
                self.line = None;
                self.lines.bad(begin, Problem::TooLong)?;
                return Ok(None);
            }
            if !self.refill()? {
                self.lines.bad(begin, Problem::Truncated { what: "operation" })?;
                return Ok(None);
            }
        }
    }
}
