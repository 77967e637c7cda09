// Where requests may go, as choices of a form.
import type { Policy } from '../api/answers';
import type { Key } from '../i18n/en';
import { t } from '../i18n/language.svelte';

const policies: Policy[] = [
  'local-only',
  'prefer-local',
  'prefer-remote',
  'cheapest',
  'fastest',
  'weighted',
];

export const policyWords = (policy: Policy): string => t(`policy.${policy}` satisfies Key);

/** All of them, after the choice of none in these words. */
export function policyChoices(none: string): { value: string; label: string }[] {
  return [
    { value: '', label: none },
    ...policies.map((value) => ({ value, label: policyWords(value) })),
  ];
}
