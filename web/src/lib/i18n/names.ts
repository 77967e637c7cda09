// Each language by the name its speakers use; never translated.
import type { LanguageCode } from '../api/types';

export const languageNames: Record<LanguageCode, string> = { en: 'English', zh: '简体中文' };
