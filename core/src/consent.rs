//! The other side of a decision: what the owners of audiences allow.
//!
//! A policy asks, an audience allows, and a token exists only where both agree. [`AudienceSet::consent`]
//! compares them and returns what they have in common, never more than either says.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    audience::{AudienceId, Hold, Statement},
    denial::{Code, Denial},
    issuer::Issuer,
    name::{Audience, IssuerId, Namespace, ObjectName, ServiceAccount},
    policy::Seniority,
    scope::ScopeSet,
    token::opaque::AudienceTag,
};

/// Every valid statement and issuer of the cluster, and who of them counts.
///
/// # Guarantees
/// An `aud` belongs to at most one statement, and an issuer's URL to at most one usable issuer: the oldest.
/// As long as the issuer permits it, an `aud` goes on belonging to a statement that cannot be used any
/// more, and then nothing is issued for it. The same objects make the same set, in whatever order they
/// come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AudienceSet {
    statements: BTreeMap<AudienceId, Arc<Statement>>,
    issuers: BTreeMap<ObjectName, Arc<Issuer>>,
    /// Why a statement does not count.
    refused: BTreeMap<AudienceId, Denial>,
    /// Why an issuer does not count.
    shadowed: BTreeMap<ObjectName, Denial>,
    /// Whose a value is, whether that statement can be used or not.
    by_value: BTreeMap<Audience, AudienceId>,
    /// The values that belong to one, by what an opaque token shows of them.
    by_tag: BTreeMap<AudienceTag, Vec<Audience>>,
    /// Every statement of a value, whether it counts, or can be used, or not.
    stated: BTreeMap<Audience, BTreeSet<AudienceId>>,
    namespaces: BTreeMap<Namespace, Labels>,
}

/// The labels of a namespace.
pub type Labels = BTreeMap<String, String>;

/// Who claims a value.
struct Claimant<'a> {
    id: &'a AudienceId,
    seniority: &'a Seniority,
    audience: &'a Audience,
    issuer: &'a ObjectName,
    /// Whom to ask.
    contact: Option<&'a str>,
    /// Whether it can be used, and not only hold what it claims.
    usable: bool,
}

/// What both sides agree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// The statement that allows it.
    pub statement: Arc<Statement>,
    /// Who makes the token.
    pub issuer: Arc<Issuer>,
    /// The scopes that are asked for and allowed.
    pub scopes: ScopeSet,
    /// Those that are asked for and not allowed, with the sentence about them.
    pub withheld: Option<Denial>,
}

impl AudienceSet {
    /// Finds out which of the statements and issuers count. `holds` are of the statements that cannot be
    /// used, `namespaces` the labels of all namespaces.
    #[must_use]
    pub fn new(
        statements: impl IntoIterator<Item = Arc<Statement>>,
        holds: impl IntoIterator<Item = Arc<Hold>>,
        issuers: impl IntoIterator<Item = Arc<Issuer>>,
        namespaces: BTreeMap<Namespace, Labels>,
    ) -> Self {
        let statements = statements.into_iter().map(|s| (s.id.clone(), s));
        let issuers = issuers.into_iter().map(|i| (i.name.clone(), i));
        let mut set = Self {
            statements: statements.collect(),
            issuers: issuers.collect(),
            namespaces,
            ..Self::default()
        };
        let holds: Vec<_> = holds.into_iter().collect();
        let stated = set.statements.values().map(|s| (&s.id, &s.audience));
        let held = holds.iter().map(|hold| (&hold.id, &hold.audience));
        for (id, audience) in stated.chain(held) {
            let ids = set.stated.entry(audience.clone());
            ids.or_default().insert(id.clone());
        }
        set.shadow_issuers();
        set.refuse_statements(&holds);
        set
    }

    /// The statement of that id, whether it counts or not.
    #[must_use]
    pub fn statement(&self, id: &AudienceId) -> Option<&Arc<Statement>> {
        self.statements.get(id)
    }

    /// The statement that the `aud` belongs to, if it can be used.
    #[must_use]
    pub fn of_value(&self, audience: &str) -> Option<&Arc<Statement>> {
        self.statements.get(self.by_value.get(audience)?)
    }

    /// Every statement that counts and that an opaque token with this tag may be for.
    pub fn tagged(&self, tag: AudienceTag) -> impl Iterator<Item = &Arc<Statement>> {
        let values = self.claimed(tag);
        values.filter_map(|value| self.of_value(value.as_str()))
    }

    /// Every `aud` with this tag that belongs to a statement, whether that can be used or not.
    pub fn claimed(&self, tag: AudienceTag) -> impl Iterator<Item = &Audience> {
        self.by_tag.get(&tag).into_iter().flatten()
    }

    /// Every statement that has that `aud`, whether it counts, or can be used, or not.
    #[must_use]
    pub fn stating(&self, audience: &str) -> &BTreeSet<AudienceId> {
        static NONE: BTreeSet<AudienceId> = BTreeSet::new();
        self.stated.get(audience).unwrap_or(&NONE)
    }

    /// Every statement that counts.
    pub fn counting(&self) -> impl Iterator<Item = &Arc<Statement>> {
        self.by_value
            .values()
            .filter_map(|id| self.statements.get(id))
    }

    /// The issuer of that name, if it counts.
    #[must_use]
    pub fn issuer(&self, name: &str) -> Option<&Arc<Issuer>> {
        self.issuers
            .get(name)
            .filter(|issuer| !self.shadowed.contains_key(&issuer.name))
    }

    /// Every issuer that counts.
    pub fn issuers(&self) -> impl Iterator<Item = &Arc<Issuer>> {
        self.issuers
            .keys()
            .filter_map(|name| self.issuer(name.as_str()))
    }

    /// Why the statement does not count; [`None`] where it does.
    #[must_use]
    pub fn refusal(&self, id: &AudienceId) -> Option<&Denial> {
        self.refused.get(id)
    }

    /// Why the issuer does not count; [`None`] where it does.
    #[must_use]
    pub fn issuer_refusal(&self, name: &str) -> Option<&Denial> {
        self.shadowed.get(name)
    }

    /// The labels of a namespace; none for one that is not known.
    #[must_use]
    pub fn labels(&self, namespace: &str) -> &Labels {
        static NONE: Labels = Labels::new();
        self.namespaces.get(namespace).unwrap_or(&NONE)
    }

    /// What a service account of `namespace` that asks for these scopes of an audience gets of them.
    ///
    /// # Errors
    /// [`Code::AudienceMissing`], what the statement itself is refused for, [`Code::SubjectNotAllowed`]
    /// where nothing is allowed, [`Code::ScopeNotAllowed`] where nothing of what is asked for is. The
    /// text names the missing line and whom to ask.
    pub fn consent(
        &self,
        namespace: &Namespace,
        account: &ServiceAccount,
        audience: &AudienceId,
        asked: &ScopeSet,
    ) -> Result<Consent, Denial> {
        let Some(statement) = self.statements.get(audience) else {
            return Err(Denial {
                code: Code::AudienceMissing,
                detail: format!("there is no usable TokenAudience {audience}"),
            });
        };
        if let Some(refusal) = self.refused.get(audience) {
            return Err(refusal.clone());
        }
        let issuer = self.issuer(statement.issuer.as_str());
        let issuer = issuer.ok_or_else(|| issuer_missing(&statement.as_ref().into()))?;
        let contact = statement.contact.as_deref();
        let labels = self.labels(namespace.as_str());
        let lines = statement.admitting(labels, account);
        if lines.is_empty() {
            let detail = format!("{audience} allows {namespace}/{account} nothing");
            return Err(ask(contact, Code::SubjectNotAllowed, detail));
        }
        // Looked up for what is asked, never gathered: an owner may allow 64 times 64.
        let granted = asked
            .iter()
            .filter(|s| lines.iter().any(|l| l.scopes.contains(s)));
        let granted = ScopeSet::new(granted.cloned());
        let missing = granted
            .as_ref()
            .map_or_else(|| Some(asked.clone()), |g| asked.without(g));
        let withheld = missing.map(|missing| {
            let scopes = if missing.len() == 1 {
                "scope"
            } else {
                "scopes"
            };
            let detail = format!("{audience} allows {namespace}/{account} no {scopes} {missing}");
            ask(contact, Code::ScopeNotAllowed, detail)
        });
        match (granted, withheld) {
            (Some(scopes), withheld) => Ok(Consent {
                statement: Arc::clone(statement),
                issuer: Arc::clone(issuer),
                scopes,
                withheld,
            }),
            (None, Some(denial)) => Err(denial),
            // A set has at least one scope: it is either allowed or withheld.
            (None, None) => Err(ask(contact, Code::ScopeNotAllowed, "no scope".to_owned())),
        }
    }

    fn shadow_issuers(&mut self) {
        let mut by_age: Vec<&Arc<Issuer>> = self.issuers.values().collect();
        by_age.sort_by(|a, b| a.seniority.cmp(&b.seniority));
        // By id and not by URL: keys are kept under the id, and it is short enough to be forged.
        let mut owners: BTreeMap<IssuerId, &ObjectName> = BTreeMap::new();
        for issuer in by_age {
            match owners.get(&issuer.url.id()) {
                Some(older) => {
                    let detail =
                        format!("the older TokenIssuer \"{older}\" has the same issuerURL");
                    let denial = Denial {
                        code: Code::Conflict,
                        detail,
                    };
                    self.shadowed.insert(issuer.name.clone(), denial);
                }
                None => drop(owners.insert(issuer.url.id(), &issuer.name)),
            }
        }
    }

    fn refuse_statements(&mut self, holds: &[Arc<Hold>]) {
        let (mut by_value, mut by_tag) = (BTreeMap::new(), BTreeMap::<_, Vec<_>>::new());
        let mut refused = BTreeMap::new();
        let statements = self.statements.values().map(|s| Claimant::from(&**s));
        let holds = holds.iter().map(|hold| Claimant::from(&**hold));
        let mut by_age: Vec<_> = statements.chain(holds).collect();
        by_age.sort_by(|a, b| a.seniority.cmp(b.seniority));
        for claimant in by_age {
            let (id, value) = (claimant.id.clone(), claimant.audience.clone());
            match self.standing(&claimant, &by_value) {
                Ok(()) => {
                    let tagged = by_tag.entry(AudienceTag::of(&value)).or_default();
                    tagged.push(value.clone());
                    by_value.insert(value, id);
                }
                Err(denial) if claimant.usable => drop(refused.insert(id, denial)),
                Err(_) => {}
            }
        }
        (self.by_value, self.by_tag, self.refused) = (by_value, by_tag, refused);
    }

    /// Called for the older first: whoever holds the value by then is older.
    fn standing(
        &self,
        claimant: &Claimant<'_>,
        by_value: &BTreeMap<Audience, AudienceId>,
    ) -> Result<(), Denial> {
        let Claimant { id, audience, .. } = *claimant;
        let issuer = self.issuer(claimant.issuer.as_str());
        let issuer = issuer.ok_or_else(|| issuer_missing(claimant))?;
        let labels = self.labels(id.namespace.as_str());
        if !issuer.permits(audience.as_str(), &id.namespace, labels) {
            let name = &issuer.name;
            let detail = format!(
                "namespace \"{}\" may not state the audience \"{audience}\": take SERVICE.{}.svc, or have whoever runs Hallpass add a pattern to spec.audiences of TokenIssuer \"{name}\"",
                id.namespace, id.namespace
            );
            return Err(Denial {
                code: Code::AudienceNotPermitted,
                detail,
            });
        }
        match by_value.get(audience) {
            Some(older) => Err(Denial {
                code: Code::Conflict,
                detail: format!(
                    "{id} states the audience \"{audience}\", which belongs to the older {older}"
                ),
            }),
            None => Ok(()),
        }
    }
}

impl<'a> From<&'a Statement> for Claimant<'a> {
    fn from(statement: &'a Statement) -> Self {
        Self {
            id: &statement.id,
            seniority: &statement.seniority,
            audience: &statement.audience,
            issuer: &statement.issuer,
            contact: statement.contact.as_deref(),
            usable: true,
        }
    }
}

impl<'a> From<&'a Hold> for Claimant<'a> {
    fn from(hold: &'a Hold) -> Self {
        Self {
            id: &hold.id,
            seniority: &hold.seniority,
            audience: &hold.audience,
            issuer: &hold.issuer,
            contact: None,
            usable: false,
        }
    }
}

fn issuer_missing(claimant: &Claimant<'_>) -> Denial {
    let Claimant { id, issuer, .. } = claimant;
    let detail =
        format!("{id} names the TokenIssuer \"{issuer}\", of which there is no usable one");
    ask(claimant.contact, Code::IssuerMissing, detail)
}

/// The denial with whom to ask, where the statement says that.
fn ask(contact: Option<&str>, code: Code, mut detail: String) -> Denial {
    if let Some(contact) = contact {
        detail.push_str("; ask ");
        detail.push_str(contact);
    }
    Denial { code, detail }
}

#[cfg(test)]
mod tests;
