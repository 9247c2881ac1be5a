/** Defaults of a LimitRange, derived from its bounds (pkg/apis/core/v1/defaults.go, SetDefaults_LimitRangeItem). */
import type { LimitRange, LimitRangeItem } from '../types/objects.ts';

export function limitDefaults(range: LimitRange): LimitRange {
  const limits = range.spec?.limits?.map((item) => (item.type === 'Container' ? containerItem(item) : item));
  return limits === undefined ? range : { ...range, spec: { ...range.spec, limits } };
}

/** The default limit is the maximum; the default request is the default limit, or else the minimum. */
function containerItem(item: LimitRangeItem): LimitRangeItem {
  const limits = { ...item.max, ...item.default };
  const requests = { ...item.min, ...limits, ...item.defaultRequest };
  return {
    ...item,
    ...(Object.keys(limits).length > 0 && { default: limits }),
    ...(Object.keys(requests).length > 0 && { defaultRequest: requests }),
  };
}
