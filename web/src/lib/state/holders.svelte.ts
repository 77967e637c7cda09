// Whom money and limits are for: users, groups and API tokens, by name instead of by number.
import { admin, type HolderKind } from '../api/admin';
import { t } from '../i18n/language.svelte';
import { showReordering } from '../markdown/bidi';
import { Resource } from './resource.svelte';

export interface Holder {
  kind: HolderKind;
  id: number;
}

/** Read anew by each page that shows them. */
export class Holders {
  readonly names = new Resource(async () => {
    const [{ users }, { groups }, { tokens }] = await Promise.all([
      admin.users(),
      admin.groups(),
      admin.allTokens(),
    ]);
    return {
      user: users.map(({ id, name }) => ({ id, name })),
      group: groups.map(({ id, name }) => ({ id, name })),
      token: tokens.map(({ id, name, user }) => ({ id, name: t('money.token', { name, user }) })),
    };
  });

  /** What a holder is called; one that is gone, by its number. */
  nameOf = ({ kind, id }: Holder): string => {
    const kindWords = t(`money.kind.${kind}`);
    if (!this.names.value) return t('money.holder', { kind: kindWords, id });
    const name = this.names.value[kind].find((one) => one.id === id)?.name;
    return name === undefined ? t('money.gone', { kind: kindWords, id }) : showReordering(name);
  };

  /** The choices of a form. */
  choices = (kind: HolderKind): { value: string; label: string }[] =>
    (this.names.value?.[kind] ?? []).map(({ id, name }) => ({
      value: String(id),
      label: showReordering(name),
    }));
}
