//! The code of one message: plain statements in field order, one or two lines a field, so that it compiles quickly.

use crate::attributes::{FieldRules, Role, Versions};
use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Data, DeriveInput, Error, Fields, Ident, Result, Type};

struct Field<'a> {
    name: &'a Ident,
    ty: &'a Type,
    rules: FieldRules,
}

pub fn message(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(input, "a message is a struct"));
    };
    let fields = match &data.fields {
        Fields::Named(named) => &named.named,
        Fields::Unit | Fields::Unnamed(_) => return Err(Error::new_spanned(input, "a message has named fields")),
    };
    let mut plain = Vec::new();
    let mut tagged = Vec::new();
    for field in fields {
        let rules = FieldRules::parse(&field.attrs, &field.ty)?;
        let name = field.ident.as_ref().expect("named fields have names");
        let field = Field { name, ty: &field.ty, rules };
        match field.rules.tag {
            Some(tag) => tagged.push((tag, field)),
            None => plain.push(field),
        }
    }
    // Kafka demands them in the order of their tags.
    tagged.sort_by_key(|(tag, _)| *tag);
    if let Some(pair) = tagged.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(Error::new(pair[1].1.name.span(), "the tag is taken"));
    }
    let default = default(&input.ident, plain.iter().chain(tagged.iter().map(|(_, field)| field)));
    let wire = wire(&input.ident, &plain, &tagged);
    let arbitrary = arbitrary(&input.ident, plain.iter().chain(tagged.iter().map(|(_, field)| field)));
    let throttle = plain.iter().map(|field| field.name).find(|name| *name == "throttle_time_ms");
    let role = role(&input.ident, Role::parse(&input.attrs)?, throttle);
    Ok(quote! { #default #wire #arbitrary #role })
}

fn default<'a>(message: &Ident, fields: impl Iterator<Item = &'a Field<'a>>) -> TokenStream {
    let fields = fields.map(|field| {
        let (name, value) = (field.name, field.default());
        quote!(#name: #value)
    });
    quote! {
        impl Default for #message {
            fn default() -> Self {
                Self { #(#fields),* }
            }
        }
    }
}

fn wire(message: &Ident, plain: &[Field<'_>], tagged: &[(u32, Field<'_>)]) -> TokenStream {
    let sizes = plain.iter().map(|field| {
        let ty = field.ty;
        let size = match field.rules.nullable {
            Some(_) => quote!(1),
            None => quote!(<#ty as crate::codec::Wire>::min_size(version)),
        };
        field.when_present(quote!(size += #size;))
    });
    let encode = plain.iter().map(|field| field.when_present(field.encode()));
    let decode = plain.iter().map(|field| {
        let (name, value) = (field.name, field.decode());
        field.when_present(quote!(message.#name = #value;))
    });
    let encode_tagged = tagged.iter().map(|(tag, field)| {
        let (name, value, default) = (field.name, field.encode(), field.default());
        let write = quote! { if self.#name != #default { tags.write(#tag, |encoder| { #value }); } };
        field.when_present(write)
    });
    let decode_tagged = tagged.iter().map(|(tag, field)| {
        let (name, value, present) = (field.name, field.decode(), field.rules.versions.condition());
        quote!(#tag if #present => message.#name = #value,)
    });
    quote! {
        impl crate::codec::Wire for #message {
            fn min_size(version: crate::codec::Version) -> usize {
                let mut size = usize::from(version.flexible);
                #(#sizes)*
                size
            }

            fn encode(&self, encoder: &mut crate::encoder::Encoder, version: crate::codec::Version) {
                #(#encode)*
                if version.flexible {
                    #[allow(unused_mut)]
                    let mut tags = crate::encoder::TaggedFields::default();
                    #(#encode_tagged)*
                    tags.finish(encoder);
                }
            }

            fn decode(
                decoder: &mut crate::decoder::Decoder,
                version: crate::codec::Version,
            ) -> Result<Self, crate::decoder::DecodeError> {
                #[allow(unused_mut)]
                let mut message = Self::default();
                #(#decode)*
                if version.flexible {
                    decoder.tagged_fields(|tag, decoder| {
                        match tag {
                            #(#decode_tagged)*
                            _ => decoder.skip_rest(),
                        }
                        Ok(())
                    })?;
                }
                Ok(message)
            }
        }
    }
}

/// Random messages for the tests; fields that a version does not have keep their default.
fn arbitrary<'a>(message: &Ident, fields: impl Iterator<Item = &'a Field<'a>>) -> TokenStream {
    let fields = fields.map(|field| {
        let name = field.name;
        let value = match field.rules.nullable {
            Some(nullable) => {
                let nullable = nullable.condition();
                quote!(crate::arbitrary::option(entropy, #nullable, version))
            }
            None => quote!(crate::arbitrary::Arbitrary::arbitrary(entropy, version)),
        };
        field.when_present(quote!(message.#name = #value;))
    });
    quote! {
        #[cfg(feature = "arbitrary")]
        impl crate::arbitrary::Arbitrary for #message {
            fn arbitrary(entropy: &mut crate::arbitrary::Entropy<'_>, version: crate::codec::Version) -> Self {
                #[allow(unused_mut)]
                let mut message = Self::default();
                #(#fields)*
                message
            }
        }
    }
}

/// `throttle` is the field with the throttle time, which responses have.
fn role(message: &Ident, role: Role, throttle: Option<&Ident>) -> TokenStream {
    let facts = |versions: TokenStream, flexible_from: TokenStream| {
        quote! {
            impl crate::codec::Message for #message {
                const VERSIONS: std::ops::RangeInclusive<i16> = #versions;
                const FLEXIBLE_FROM: i16 = #flexible_from;
            }
        }
    };
    let own_facts = |versions: Versions, flexible: Option<i16>| {
        let (first, last) = (versions.first, versions.last.unwrap_or(i16::MAX));
        let flexible_from = flexible.unwrap_or(i16::MAX);
        facts(quote!(#first..=#last), quote!(#flexible_from))
    };
    match role {
        Role::Part => quote!(),
        Role::Standalone { versions, flexible } => own_facts(versions, flexible),
        Role::Request { key, versions, flexible } => {
            let facts = own_facts(versions, flexible);
            let response = format_ident!("{key}Response");
            quote! {
                #facts
                impl crate::message::RequestMessage for #message {
                    const KEY: crate::message::ApiKey = crate::message::ApiKey::#key;
                    type Response = #response;
                }
            }
        }
        Role::Response { key } => {
            let request = format_ident!("{key}Request");
            let facts = facts(
                quote!(<#request as crate::codec::Message>::VERSIONS),
                quote!(<#request as crate::codec::Message>::FLEXIBLE_FROM),
            );
            let throttle = match throttle {
                Some(field) => quote!(Some(&mut self.#field)),
                None => quote!(None),
            };
            quote! {
                #facts
                impl crate::message::ResponseMessage for #message {
                    const KEY: crate::message::ApiKey = crate::message::ApiKey::#key;

                    fn throttle_time_ms(&mut self) -> Option<&mut i32> {
                        #throttle
                    }
                }
            }
        }
    }
}

impl Versions {
    /// An expression that is true in these versions.
    fn condition(self) -> TokenStream {
        let first = self.first;
        match self.last {
            None if self == Self::ALL => quote!(true),
            None => quote!(version.number >= #first),
            Some(last) => quote!((#first..=#last).contains(&version.number)),
        }
    }
}

impl Field<'_> {
    fn default(&self) -> TokenStream {
        let ty = self.ty;
        match &self.rules.default {
            Some(value) => quote!(#value),
            None => quote!(<#ty as Default>::default()),
        }
    }

    fn when_present(&self, statement: TokenStream) -> TokenStream {
        match self.rules.versions {
            Versions::ALL => statement,
            versions => {
                let present = versions.condition();
                quote!(if #present { #statement })
            }
        }
    }

    fn encode(&self) -> TokenStream {
        let name = self.name;
        match self.rules.nullable.map(Versions::condition) {
            Some(nullable) => quote!(crate::codec::encode_option(&self.#name, #nullable, encoder, version);),
            None => quote!(crate::codec::Wire::encode(&self.#name, encoder, version);),
        }
    }

    fn decode(&self) -> TokenStream {
        match self.rules.nullable.map(Versions::condition) {
            Some(nullable) => quote!(crate::codec::decode_option(#nullable, decoder, version)?),
            None => quote!(crate::codec::Wire::decode(decoder, version)?),
        }
    }
}
