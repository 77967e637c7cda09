// Whom rate limits bind, in words.
import type { RateLimit } from '../api/answers';
import { t } from '../i18n/language.svelte';

export const limitKinds: RateLimit['kind'][] = ['user', 'group', 'token', 'model'];

export const limitKindWords = (kind: RateLimit['kind']): string =>
  kind === 'model' ? t('limits.model') : t(`money.kind.${kind}`);
