// A private integration for Zapier; `journeykit zapier integration` writes it, then: npm install, zapier register, zapier push.
'use strict';

const platform = require('zapier-platform-core');

const url = (bundle, path) => `${bundle.authData.base.replace(/\/+$/, '')}/${path}`;

const withKey = (request, z, bundle) => {
  request.headers['X-API-Key'] = bundle.authData.api_key;
  return request;
};

const samples = async (z, bundle) => {
  const response = await z.request({
    url: url(bundle, 'samples'),
    params: { event: bundle.inputData.event },
  });
  return response.data;
};

const subscribe = async (z, bundle) => {
  const response = await z.request({
    method: 'POST',
    url: url(bundle, 'hooks'),
    body: { hookUrl: bundle.targetUrl, event: bundle.inputData.event },
  });
  return response.data;
};

const unsubscribe = async (z, bundle) => {
  await z.request({
    method: 'DELETE',
    url: url(bundle, 'hooks'),
    params: { id: bundle.subscribeData.id },
  });
  return {};
};

const record = async (z, bundle) => {
  const { event, user_id, id, properties } = bundle.inputData;
  const response = await z.request({
    method: 'POST',
    url: url(bundle, 'events'),
    body: { event, user_id, id, properties },
  });
  return response.data;
};

const eventField = { key: 'event', label: 'Event', type: 'string', required: true };

module.exports = {
  version: '1.0.0',
  platformVersion: platform.version,
  authentication: {
    type: 'custom',
    fields: [
      {
        key: 'base',
        label: 'Address',
        helpText: 'For instance https://shop.example/journeykit/zapier',
        type: 'string',
        required: true,
      },
      { key: 'api_key', label: 'API key', type: 'password', required: true },
    ],
    test: (z, bundle) => z.request({ url: url(bundle, 'me') }),
    connectionLabel: '{{name}}',
  },
  beforeRequest: [withKey],
  triggers: {
    event: {
      key: 'event',
      noun: 'Event',
      display: { label: 'New Event', description: 'Triggers when a customer does something.' },
      operation: {
        type: 'hook',
        inputFields: [eventField],
        performSubscribe: subscribe,
        performUnsubscribe: unsubscribe,
        perform: (z, bundle) => [bundle.cleanedRequest],
        performList: samples,
      },
    },
  },
  creates: {
    record: {
      key: 'record',
      noun: 'Event',
      display: { label: 'Record Event', description: 'Records something about a customer.' },
      operation: {
        inputFields: [
          eventField,
          { key: 'user_id', label: 'User ID', type: 'string', required: true },
          { key: 'id', label: 'ID', type: 'string' },
          { key: 'properties', label: 'Properties', dict: true },
        ],
        perform: record,
      },
    },
  },
};
