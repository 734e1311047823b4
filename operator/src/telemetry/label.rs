//! What the labels of a metric can say.

/// Makes an enum of label values: the word is the variant's own.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Every one there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The label itself.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }
    };
}

labels! {
    /// The routes of the API.
    Route {
        /// `GET /v1/assignments`
        Assignments = "assignments",
        /// `POST /v1/tokens`
        Tokens = "tokens",
        /// Every path and method that is neither.
        Other = "other",
    }
}

labels! {
    /// The kinds that are watched.
    Kind {
        /// `tokenpolicies.hallpass.dev`
        TokenPolicy = "TokenPolicy",
        /// Pods with our sidecar.
        Pod = "Pod",
        /// Service accounts.
        ServiceAccount = "ServiceAccount",
    }
}

labels! {
    /// How the write of a status ended.
    StatusWrite {
        /// It is stored.
        Written = "Written",
        /// The object is gone, or another one of the same name: nothing to write to.
        Gone = "Gone",
        /// It was not stored; it is tried again.
        Failed = "Failed",
    }
}

labels! {
    /// How a TokenReview ended.
    ReviewOutcome {
        /// The API server vouches for the token.
        Accepted = "Accepted",
        /// The API server does not.
        Refused = "Refused",
        /// It was not asked, since it has been asked too often.
        Limited = "Limited",
        /// It did not answer.
        Failed = "Failed",
    }
}
