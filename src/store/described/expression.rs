//! Expressions of descriptions: each is one SQL expression that cannot leave the parentheses around it.
//!
//! Only the outer form is checked here. Whether it is an expression over the columns of its table, the database says.

/// The name for the moment of the request.
const REQUESTED_AT: &str = "requested_at";

/// An expression, cut where the moment of the request stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct Expression {
    parts: Vec<String>,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// Says in which character it leaves its parentheses or is not plain.
    pub(in crate::store) fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader { rest: text, at: 0, depth: 0, parts: vec![String::new()] };
        while let Some(c) = reader.rest.chars().next() {
            reader.step(c)?;
        }
        if reader.depth > 0 {
            return Err(format!("`{text}` is no expression: {} parentheses are not closed", reader.depth));
        }
        Ok(Self { parts: reader.parts })
    }

    /// The text in parentheses, with `moment` for the moment of the request.
    pub(in crate::store) fn text(&self, moment: &str) -> String {
        format!("({})", self.parts.join(moment))
    }

    /// Whether it speaks of the moment of the request.
    pub(in crate::store) fn has_moment(&self) -> bool {
        self.parts.len() > 1
    }
}

/// Reads an expression character by character.
struct Reader<'a> {
    rest: &'a str,
    /// The number of characters before `rest`.
    at: usize,
    depth: u32,
    parts: Vec<String>,
}

impl Reader<'_> {
    fn step(&mut self, c: char) -> Result<(), String> {
        let next = self.rest.chars().nth(1);
        match (c, next) {
            ('\'' | '"', _) => self.quoted(c),
            ('(', _) => {
                self.depth += 1;
                self.take(1);
                Ok(())
            }
            (')', _) if self.depth == 0 => self.refused("a closing parenthesis that nothing opens"),
            (')', _) => {
                self.depth -= 1;
                self.take(1);
                Ok(())
            }
            (',', _) if self.depth == 0 => self.refused("a comma outside of parentheses"),
            ('-', Some('-')) | ('/', Some('*')) => self.refused("a comment"),
            (':', Some(':')) => {
                self.take(2);
                Ok(())
            }
            (':', _) => self.moment(),
            // What quotes, names a parameter or escapes in one of the databases only.
            (';' | '$' | '?' | '@' | '\\' | '#' | '[' | '`', _) => self.refused(&format!("`{c}`")),
            (c, _) if c.is_control() && !c.is_whitespace() => self.refused("a control character"),
            _ => {
                self.take(1);
                Ok(())
            }
        }
    }

    /// A text or a quoted name, with its quotes. A quote inside is doubled.
    fn quoted(&mut self, quote: char) -> Result<(), String> {
        let inside = self.rest.chars().skip(1).take_while(|c| *c != quote);
        let inside: Vec<char> = inside.collect();
        if inside.iter().any(|c| *c == '\\' || *c == '\0') {
            return self.refused("a backslash or a zero in quotes");
        }
        if self.rest.chars().nth(inside.len() + 1).is_none() {
            return self.refused("a quote that nothing closes");
        }
        self.take(inside.len() + 2);
        Ok(())
    }

    fn moment(&mut self) -> Result<(), String> {
        let name = self.rest.chars().skip(1).take_while(|c| c.is_alphanumeric() || *c == '_');
        if name.collect::<String>() != REQUESTED_AT {
            return self.refused("a `:` before something else than `requested_at`");
        }
        self.skip(1 + REQUESTED_AT.len());
        self.parts.push(String::new());
        Ok(())
    }

    fn take(&mut self, count: usize) {
        let taken: String = self.rest.chars().take(count).collect();
        if let Some(part) = self.parts.last_mut() {
            part.push_str(&taken);
        }
        self.skip(count);
    }

    fn skip(&mut self, count: usize) {
        let end = self.rest.char_indices().nth(count).map_or(self.rest.len(), |(at, _)| at);
        self.rest = self.rest.get(end..).unwrap_or_default();
        self.at += count;
    }

    fn refused(&self, what: &str) -> Result<(), String> {
        Err(format!("has {what} at character {}, expected one plain SQL expression", self.at + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_expressions_are_kept_as_they_are() {
        let plain = [
            "created_at < now() - interval '1 year'",
            "coalesce(kind, 'it''s; -- (no') <> 'legal_hold' and (a, b) = (1, 2)",
            "bucket || '/' || \"odd)name\"::text",
            "exists (select 1 from holds where holds.recording_id = recordings.id)",
            "",
        ];
        for text in plain {
            assert_eq!(Expression::parse(text).unwrap().text("?"), format!("({text})"));
        }
    }

    #[test]
    fn moment_of_the_request_is_found_outside_of_quotes() {
        let expression =
            Expression::parse("a < :requested_at and b <> ':requested_at' or :requested_at::date > c")
                .unwrap();
        assert!(expression.has_moment());
        assert_eq!(expression.text("$1"), "(a < $1 and b <> ':requested_at' or $1::date > c)");
        assert!(!Expression::parse("a::text").unwrap().has_moment());
    }

    #[test]
    fn nothing_leaves_its_parentheses() {
        let refused = [
            "true) or (true",
            "true); drop table receipts; --",
            "a, b",
            "1 -- rest",
            "1 /* rest */",
            "'open",
            "\"open",
            "(open",
            "$1",
            "$$a$$",
            "a = ?",
            "a = :tenant",
            "E'\\' or true",
            "a = @b",
            "a[1]",
            "a ` ) or (b ` c",
            "a\0",
        ];
        for text in refused {
            assert!(Expression::parse(text).is_err(), "{text}");
        }
        let error = Expression::parse("true) or (true").unwrap_err();
        assert_eq!(
            error,
            "has a closing parenthesis that nothing opens at character 5, expected one plain SQL expression"
        );
    }
}
