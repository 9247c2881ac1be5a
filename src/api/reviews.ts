/** Review kinds: a client creates the object and gets the result in its status. Nothing is stored. */
import type { Resource } from './resources.ts';

const question = (kind: string, group: string, scope: 'cluster' | 'namespaced' = 'cluster'): Resource => ({
  kind: kind as Resource['kind'],
  key: kind as Resource['key'],
  group,
  version: 'v1',
  plural: `${kind.toLowerCase()}s`,
  singular: kind.toLowerCase(),
  shortNames: [],
  categories: [],
  namespaced: scope === 'namespaced',
  status: false,
  inert: false,
});

const AUTHENTICATION = 'authentication.k8s.io';
const AUTHORIZATION = 'authorization.k8s.io';

export const REVIEWS: readonly Resource[] = [
  question('TokenReview', AUTHENTICATION),
  question('SelfSubjectReview', AUTHENTICATION),
  question('SubjectAccessReview', AUTHORIZATION),
  question('LocalSubjectAccessReview', AUTHORIZATION, 'namespaced'),
  question('SelfSubjectAccessReview', AUTHORIZATION),
  question('SelfSubjectRulesReview', AUTHORIZATION),
];

export const isReview = (resource: Resource): boolean => REVIEWS.includes(resource);
