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
        /// `GET /v1/replica`
        Replica = "replica",
        /// `GET /v1/trust`
        Trust = "trust",
        /// `POST /inject/pod`, `/inject/namespace` and `/inject/policy`
        Inject = "inject",
        /// The token endpoints of the issuers.
        Token = "token",
        /// Their introspection endpoints.
        Introspect = "introspect",
        /// Their revocation endpoints.
        Revoke = "revoke",
        /// Their keys.
        Jwks = "jwks",
        /// What they say of themselves, in both places.
        Metadata = "metadata",
        /// Every path that is none of these.
        Other = "other",
    }
}

labels! {
    /// The kinds that are watched.
    Kind {
        /// `tokenpolicies.hallpass.dev`
        TokenPolicy = "TokenPolicy",
        /// `tokenaudiences.hallpass.dev`
        TokenAudience = "TokenAudience",
        /// `tokenissuers.hallpass.dev`
        TokenIssuer = "TokenIssuer",
        /// `tokenrevocations.hallpass.dev`
        TokenRevocation = "TokenRevocation",
        /// `clustertokenrevocations.hallpass.dev`
        ClusterTokenRevocation = "ClusterTokenRevocation",
        /// Namespaces.
        Namespace = "Namespace",
        /// Pods with our sidecar.
        Pod = "Pod",
        /// Service accounts.
        ServiceAccount = "ServiceAccount",
        /// Secrets with the keys of an issuer.
        SigningKey = "SigningKey",
        /// Leases of the replicas.
        ReplicaLease = "ReplicaLease",
    }
}

impl Kind {
    /// Those that Hallpass defines.
    pub const DEFINED: &'static [Self] = &[
        Self::TokenPolicy,
        Self::TokenAudience,
        Self::TokenIssuer,
        Self::TokenRevocation,
        Self::ClusterTokenRevocation,
    ];
}

labels! {
    /// What the leader does with a key.
    KeyStep {
        /// It is made.
        Create = "Create",
        /// It begins to sign.
        Activate = "Activate",
        /// It is removed.
        Remove = "Remove",
    }
}

labels! {
    /// How a step with a key ended.
    StepOutcome {
        /// It is stored.
        Done = "Done",
        /// Somebody changed the keys meanwhile; they are looked at again.
        Overtaken = "Overtaken",
        /// It was not stored; it is tried again.
        Failed = "Failed",
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
    /// Why a pod should have the sidecar that it has not; the first of these that holds.
    Uninjected {
        /// Its own label asks for it.
        PodLabel = "PodLabel",
        /// The label of its namespace does.
        NamespaceLabel = "NamespaceLabel",
        /// A TokenPolicy selects it, and no label asks.
        Policy = "Policy",
    }
}

labels! {
    /// What became of the eviction of a pod that lacks the sidecar.
    EvictionOutcome {
        /// The API server evicts it.
        Evicted = "Evicted",
        /// A PodDisruptionBudget does not allow it now; it is tried again.
        RefusedByBudget = "RefusedByBudget",
        /// The pod is gone, or it is another one of that name.
        Gone = "Gone",
        /// It was refused for another reason, or it is not known what became of it.
        Failed = "Failed",
    }
}

labels! {
    /// Why a token was not minted although it may be had.
    TurnedAway {
        /// Too many waited already.
        NoRoom = "NoRoom",
        /// Its turn did not come in time.
        Waited = "Waited",
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

labels! {
    /// What became of a pod that the API server showed to the webhook.
    InjectionOutcome {
        /// It got the sidecar.
        Injected = "Injected",
        /// It has the sidecar already.
        Present = "Present",
        /// Its label, its namespace or its kind keeps it from getting one.
        Exempt = "Exempt",
        /// No label and no policy asks for one.
        NotAsked = "NotAsked",
        /// Whether a policy asks is not known yet.
        NotSynced = "NotSynced",
        /// Only a policy asks, and the sidecar cannot be added.
        Unfit = "Unfit",
        /// A label asks, and the sidecar cannot be added: the pod was refused.
        Refused = "Refused",
        /// There is no CA yet that a sidecar could trust.
        NoTrust = "NoTrust",
        /// It was no review of a new pod.
        Malformed = "Malformed",
    }
}
