//! Options of a system as a person writes them: defects by name, parameters as `key=value`.

use std::{collections::BTreeMap, time::Duration};

/// A defect that a system can be started with.
#[derive(Clone, Copy, Debug)]
pub struct DefectInfo {
    /// Kebab-case, as on the command line.
    pub name: &'static str,
    /// What it changes, in one sentence.
    pub summary: &'static str,
    /// The field failure it stands for.
    pub source: &'static str,
    /// The checks that must fire when it is on and provoked.
    pub checks: &'static [&'static str],
}

/// A parameter of a system.
#[derive(Clone, Copy, Debug)]
pub struct ParamInfo {
    pub name: &'static str,
    pub default: &'static str,
    pub summary: &'static str,
}

/// An option that a system does not have, or not with this value.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum OptionError {
    #[error("unknown {what} `{name}`{}", nearest.map_or(String::new(), |near| format!(", did you mean `{near}`?")))]
    Unknown { what: &'static str, name: String, nearest: Option<&'static str> },
    #[error("parameter `{name}` is `{value}`, expected {expected}")]
    Value { name: &'static str, value: String, expected: String },
}

/// The name most like a mistyped one, if any is like it at all.
pub(crate) fn nearest(
    name: &str,
    known: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    known
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, candidate)| candidate)
}

/// Every parameter of a system with its value, given or default.
#[derive(Clone, Debug)]
pub struct Params {
    values: BTreeMap<&'static str, String>,
}

impl Params {
    /// Checks the names; of a name given twice the last value counts.
    ///
    /// # Errors
    /// When a name is unknown.
    pub fn new(known: &[ParamInfo], given: &[(String, String)]) -> Result<Self, OptionError> {
        let mut values: BTreeMap<_, _> =
            known.iter().map(|param| (param.name, param.default.to_owned())).collect();
        for (name, value) in given {
            let Some(param) = known.iter().find(|param| param.name == name) else {
                return Err(OptionError::Unknown {
                    what: "parameter",
                    name: name.clone(),
                    nearest: nearest(name, known.iter().map(|param| param.name)),
                });
            };
            values.insert(param.name, value.clone());
        }
        Ok(Self { values })
    }

    /// The value as it was written.
    ///
    /// # Panics
    /// When the system has no such parameter.
    pub fn get(&self, name: &'static str) -> &str {
        &self.values[name]
    }

    /// A value read by `read`, or an error that says what was expected.
    ///
    /// # Errors
    /// When `read` makes nothing of it.
    pub fn read<T>(
        &self,
        name: &'static str,
        expected: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<T, OptionError> {
        read(self.get(name)).ok_or_else(|| OptionError::Value {
            name,
            value: self.get(name).to_owned(),
            expected: expected.to_owned(),
        })
    }

    /// A duration of at least a millisecond, such as `200ms`.
    ///
    /// # Errors
    /// When it is none.
    pub fn duration(&self, name: &'static str) -> Result<Duration, OptionError> {
        self.read(name, "a duration from `1ms` to `1h`, for example `200ms`", |text| {
            let range = Duration::from_millis(1)..=Duration::from_secs(3600);
            humantime::parse_duration(text).ok().filter(|duration| range.contains(duration))
        })
    }

    /// Every parameter, with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.values.iter().map(|(name, value)| (*name, value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{OptionError, ParamInfo, Params};

    const KNOWN: &[ParamInfo] = &[
        ParamInfo { name: "heartbeat", default: "100ms", summary: "" },
        ParamInfo { name: "down-after", default: "500ms", summary: "" },
    ];

    fn params(given: &[(&str, &str)]) -> Result<Params, OptionError> {
        let given: Vec<_> =
            given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Params::new(KNOWN, &given)
    }

    #[test]
    fn a_given_value_replaces_the_default() {
        let params = params(&[("heartbeat", "50ms")]).unwrap();
        assert_eq!(params.duration("heartbeat"), Ok(Duration::from_millis(50)));
        assert_eq!(params.duration("down-after"), Ok(Duration::from_millis(500)));
    }

    #[test]
    fn an_unknown_parameter_is_refused_with_its_nearest_name() {
        let error = params(&[("heart-beat", "1s")]).unwrap_err();
        assert_eq!(error.to_string(), "unknown parameter `heart-beat`, did you mean `heartbeat`?");
        let error = params(&[("zzz", "1s")]).unwrap_err();
        assert_eq!(error.to_string(), "unknown parameter `zzz`");
    }

    #[test]
    fn a_duration_that_is_none_is_refused() {
        for value in ["", "100", "0ms", "-1s", "2h", "soon"] {
            assert!(params(&[("heartbeat", value)]).unwrap().duration("heartbeat").is_err());
        }
    }
}
