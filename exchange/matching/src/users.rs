//! Users by number, so that the book compares numbers and not names.

use crate::UserId;
use std::collections::HashMap;

/// Stands for a user as long as an order of theirs rests; then it may come to stand for another. So it
/// never leaves the engine, and is in no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UserNumber(u32);

#[derive(Debug)]
struct User {
    name: UserId,
    orders: usize,
}

/// Who has orders. It grows with the orders that rest and not with all users ever seen.
#[derive(Debug, Default)]
pub(crate) struct Users {
    /// Clients choose the names, so the hash is one whose collisions they cannot make. It is random, which
    /// nobody sees: the map is only ever asked for one name.
    numbers: HashMap<UserId, UserNumber>,
    users: Vec<Option<User>>,
    free: Vec<UserNumber>,
}

impl Users {
    /// The number of a user, who has one more order now.
    pub(crate) fn enter(&mut self, name: &UserId) -> UserNumber {
        if let Some(number) = self.numbers.get(name).copied()
            && let Some(user) = self.user_mut(number)
        {
            user.orders += 1;
            return number;
        }
        let user = Some(User { name: name.clone(), orders: 1 });
        let number = match self.free.pop() {
            Some(number) => {
                self.users[number.0 as usize] = user;
                number
            }
            None => {
                self.users.push(user);
                // There are never more users than resting orders and one that arrives.
                UserNumber(u32::try_from(self.users.len() - 1).unwrap_or(u32::MAX))
            }
        };
        self.numbers.insert(name.clone(), number);
        number
    }

    /// The user has one order less.
    pub(crate) fn leave(&mut self, number: UserNumber) {
        let Some(place) = self.users.get_mut(number.0 as usize) else { return };
        let Some(user) = place else { return };
        user.orders -= 1;
        if user.orders == 0 {
            self.numbers.remove(&user.name);
            *place = None;
            self.free.push(number);
        }
    }

    fn user_mut(&mut self, number: UserNumber) -> Option<&mut User> {
        self.users.get_mut(number.0 as usize).and_then(Option::as_mut)
    }

    pub(crate) fn name(&self, number: UserNumber) -> &str {
        self.users
            .get(number.0 as usize)
            .and_then(Option::as_ref)
            .map_or("", |user| user.name.as_str())
    }

    /// How many orders they have together, by their own count; nothing where a name leads to another user.
    pub(crate) fn orders(&self) -> Option<usize> {
        let named = self.numbers.iter().all(|(name, number)| name.as_str() == self.name(*number));
        let known = self.users.iter().flatten();
        (named && known.clone().count() == self.numbers.len())
            .then(|| known.map(|user| user.orders).sum())
    }
}
