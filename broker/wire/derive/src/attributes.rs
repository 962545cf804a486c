//! What `#[wire(…)]` says, checked: every mistake is an error at the place where it was made.

use proc_macro2::Span;
use syn::meta::ParseNestedMeta;
use syn::{Attribute, Error, Expr, Ident, LitInt, LitStr, Result, Token, Type};

/// A range of versions in Kafka's notation.
#[derive(Clone, Copy, PartialEq)]
pub struct Versions {
    pub first: i16,
    /// `None` in `"3+"`.
    pub last: Option<i16>,
}

impl Versions {
    pub const ALL: Self = Self { first: 0, last: None };

    fn parse(text: &LitStr) -> Result<Self> {
        let wrong = || Error::new(text.span(), "versions look like \"3\", \"3+\" or \"0-12\"");
        let number = |digits: &str| digits.parse::<u16>().ok().and_then(|n| i16::try_from(n).ok()).ok_or_else(wrong);
        let value = text.value();
        let versions = if let Some(first) = value.strip_suffix('+') {
            Self { first: number(first)?, last: None }
        } else {
            let (first, last) = value.split_once('-').unwrap_or((&value, &value));
            Self { first: number(first)?, last: Some(number(last)?) }
        };
        if versions.last.is_some_and(|last| last < versions.first) {
            return Err(wrong());
        }
        Ok(versions)
    }
}

/// What is said of a struct.
pub enum Role {
    Part,
    Request { key: Ident, versions: Versions, flexible: Option<i16> },
    Response { key: Ident },
    Standalone { versions: Versions, flexible: Option<i16> },
}

impl Role {
    pub fn parse(attributes: &[Attribute]) -> Result<Self> {
        let (mut request, mut response, mut versions, mut flexible) = (None, None, None, None);
        let mut span = Span::call_site();
        for_each(attributes, |meta| {
            span = meta.path.segments[0].ident.span();
            match name(&meta)?.as_str() {
                "request" => once(&mut request, &meta, |meta| meta.value()?.parse::<Ident>()),
                "response" => once(&mut response, &meta, |meta| meta.value()?.parse::<Ident>()),
                "versions" => once(&mut versions, &meta, |meta| Versions::parse(&meta.value()?.parse()?)),
                "flexible" => once(&mut flexible, &meta, |meta| Versions::parse(&meta.value()?.parse()?)),
                _ => Err(meta.error("a struct takes request, response, versions and flexible")),
            }
        })?;
        if flexible.is_some_and(|flexible: Versions| flexible.last.is_some()) {
            return Err(Error::new(span, "flexible versions have no end: \"9+\""));
        }
        let flexible = flexible.map(|flexible| flexible.first);
        match (request, response, versions) {
            (Some(key), None, Some(versions)) => Ok(Self::Request { key, versions, flexible }),
            (Some(_), None, None) => Err(Error::new(span, "a request says its versions")),
            (None, Some(key), None) if flexible.is_none() => Ok(Self::Response { key }),
            (None, Some(_), _) => Err(Error::new(span, "a response has the versions of its request: leave them out")),
            (None, None, Some(versions)) => Ok(Self::Standalone { versions, flexible }),
            (None, None, None) if flexible.is_none() => Ok(Self::Part),
            (None, None, None) => Err(Error::new(span, "flexible without versions")),
            (Some(_), Some(_), _) => Err(Error::new(span, "either request or response")),
        }
    }
}

/// What is said of a field.
pub struct FieldRules {
    pub versions: Versions,
    pub nullable: Option<Versions>,
    pub tag: Option<u32>,
    pub default: Option<Expr>,
}

impl FieldRules {
    pub fn parse(attributes: &[Attribute], ty: &Type) -> Result<Self> {
        let (mut versions, mut nullable, mut tag, mut default) = (None, None, None, None);
        for_each(attributes, |meta| match name(&meta)?.as_str() {
            "versions" => once(&mut versions, &meta, |meta| Versions::parse(&meta.value()?.parse()?)),
            "nullable" => once(&mut nullable, &meta, |meta| match meta.input.peek(Token![=]) {
                true => Versions::parse(&meta.value()?.parse()?),
                false => Ok(Versions::ALL),
            }),
            "tag" => once(&mut tag, &meta, |meta| meta.value()?.parse::<LitInt>()?.base10_parse()),
            "default" => once(&mut default, &meta, |meta| meta.value()?.parse::<Expr>()),
            _ => Err(meta.error("a field takes versions, nullable, tag and default")),
        })?;
        match (is_option(ty), nullable) {
            (true, None) => return Err(Error::new_spanned(ty, "an Option says in which versions it is nullable")),
            (false, Some(_)) => return Err(Error::new_spanned(ty, "a nullable field is an Option")),
            (true, Some(_)) | (false, None) => {}
        }
        Ok(Self { versions: versions.unwrap_or(Versions::ALL), nullable, tag, default })
    }
}

fn for_each(attributes: &[Attribute], mut rule: impl FnMut(ParseNestedMeta<'_>) -> Result<()>) -> Result<()> {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("wire"))
        .try_for_each(|attribute| attribute.parse_nested_meta(&mut rule))
}

fn name(meta: &ParseNestedMeta<'_>) -> Result<String> {
    meta.path.get_ident().map(Ident::to_string).ok_or_else(|| meta.error("expected a plain name"))
}

fn once<T>(
    slot: &mut Option<T>,
    meta: &ParseNestedMeta<'_>,
    parse: impl FnOnce(&ParseNestedMeta<'_>) -> Result<T>,
) -> Result<()> {
    match slot.replace(parse(meta)?) {
        None => Ok(()),
        Some(_) => Err(meta.error("said twice")),
    }
}

fn is_option(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Option"))
}
