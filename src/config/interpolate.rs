//! `%(name)s` and `%%` in values, as `BasicInterpolation` of Python's configparser works them out.
//!
//! Called by `Config::get` alone; reads nothing but the options it is given.

use super::{Config, ConfigError, RawOption};

/// Python's `MAX_INTERPOLATION_DEPTH`: the value itself is the first.
const MAX_DEPTH: usize = 10;

/// The value of an option with all references in it replaced.
pub(super) fn expand(config: &Config, key: &str, option: &RawOption) -> Result<String, ConfigError> {
    let mut value = String::with_capacity(option.text.len());
    Expansion { config, asked: key }.append(&mut value, key, option, 1)?;
    Ok(value)
}

struct Expansion<'c> {
    config: &'c Config,
    asked: &'c str,
}

impl Expansion<'_> {
    fn append(&self, value: &mut String, key: &str, option: &RawOption, depth: usize) -> Result<(), ConfigError> {
        let text = option.text.as_str();
        if depth > MAX_DEPTH {
            let line = self.config.line_of(self.asked).unwrap_or(1);
            let (path, key) = (self.config.path.clone(), self.asked.to_owned());
            return Err(ConfigError::TooDeep { path, line, key, limit: MAX_DEPTH });
        }
        let mut at = 0;
        while let Some(found) = text[at..].find('%') {
            value.push_str(&text[at..at + found]);
            at += found;
            let rest = &text[at..];
            if rest.starts_with("%%") {
                value.push('%');
                at += 2;
                continue;
            }
            let Some(name) = reference(rest) else { return Err(self.bad_percent(key, option, at)) };
            let Some((target, referred)) = self.config.options.get_key_value(&name.to_lowercase()) else {
                return Err(ConfigError::NoSuchKey {
                    path: self.config.path.clone(),
                    line: option.line_at(at),
                    key: self.asked.to_owned(),
                    within: key.to_owned(),
                    name: name.to_owned(),
                });
            };
            // Without a `%` there is nothing to work out, so that such a value may be one level deeper.
            if referred.text.contains('%') {
                self.append(value, target, referred, depth + 1)?;
            } else {
                value.push_str(&referred.text);
            }
            at += "%()s".len() + name.len();
        }
        value.push_str(&text[at..]);
        Ok(())
    }

    fn bad_percent(&self, key: &str, option: &RawOption, at: usize) -> ConfigError {
        ConfigError::BadPercent {
            path: self.config.path.clone(),
            line: option.line_at(at),
            key: self.asked.to_owned(),
            within: key.to_owned(),
            text: option.text[at..].chars().take(12).take_while(|c| *c != '\n').collect(),
        }
    }
}

/// The name in a `%(name)s` that the text begins with.
fn reference(text: &str) -> Option<&str> {
    let (name, after) = text.strip_prefix("%(")?.split_once(')')?;
    (after.starts_with('s') && !name.is_empty()).then_some(name)
}
